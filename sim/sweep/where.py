"""The constraint of a space: comparisons over columns, parsed here and never run as Python.

expression = term {"or" term}            term = factor {"and" factor}
factor     = "not" factor | "(" expression ")" | value comparison value {comparison value}
comparison = "<" | "<=" | ">" | ">=" | "==" | "!="
value      = number | 'text' | column
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError, unknown_name

__all__ = ["Constraint", "parse_where"]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign><=|>=|==|!=|<|>|\(|\))"
    r"|(?P<word>[A-Za-z_][\w.-]*))"
)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_LONGEST = 2000
_DEEPEST = 50

Columns = Mapping[str, Any]
Test = Callable[[Columns], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A parsed constraint.

    Attributes:
        text: as it was written.
        columns: names it compares.
        test: columns -> True for every row that is allowed.
    """

    text: str
    columns: frozenset[str]
    test: Test

    def allows(self, columns: Columns, where: str = "where") -> NDArray[np.bool_]:
        """Test every row; a column that is not there is an error that names the nearest."""
        for name in sorted(self.columns):
            if name not in columns:
                raise SpecError(unknown_name("column", name, columns), where=where)
        try:
            return np.asarray(self.test(columns), dtype=bool)
        except TypeError:
            raise SpecError(
                "compares a number with a text by order", where=where, got=self.text
            ) from None


def parse_where(text: str, where: str = "where") -> Constraint:
    """Read a constraint.

    >>> allowed = parse_where("area_mm2 < 4 and not format == 'int4'")
    >>> rows = {"area_mm2": np.array([3.0, 5.0, 3.0]), "format": np.array(["a", "a", "int4"])}
    >>> allowed.allows(rows)
    array([ True, False, False])
    """
    if len(text) > _LONGEST:
        raise SpecError("too long", where=where, expected=f"at most {_LONGEST} characters")
    parser = _Parser(_tokens(text, where), text, where)
    test = parser.expression(0)
    if parser.left:
        parser.fail("and, or, or the end")
    return Constraint(text, frozenset(parser.columns), test)


def _tokens(text: str, where: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise SpecError(
                "not understood", where=where, got=text[position:].strip(),
                expected="a comparison such as area_mm2 < 4",
            )  # fmt: skip
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        position = match.end()
    return found


class _Parser:
    """Recursive descent: a method a rule of the grammar above."""

    def __init__(self, tokens: list[tuple[str, str]], text: str, where: str) -> None:
        self.left, self.text, self.where = tokens, text, where
        self.columns: set[str] = set()

    def fail(self, expected: str) -> NoReturn:
        got = self.left[0][1] if self.left else "the end"
        raise SpecError(
            "not a constraint", where=f"{self.where}: {self.text}", got=got, expected=expected
        )

    def accept(self, *values: str) -> str | None:
        if self.left and self.left[0][0] in ("sign", "word") and self.left[0][1] in values:
            return self.left.pop(0)[1]
        return None

    def expression(self, depth: int) -> Test:
        tests = [self.term(depth)]
        while self.accept("or"):
            tests.append(self.term(depth))
        return tests[0] if len(tests) == 1 else lambda c: np.any([t(c) for t in tests], axis=0)

    def term(self, depth: int) -> Test:
        tests = [self.factor(depth)]
        while self.accept("and"):
            tests.append(self.factor(depth))
        return tests[0] if len(tests) == 1 else lambda c: np.all([t(c) for t in tests], axis=0)

    def factor(self, depth: int) -> Test:
        if depth > _DEEPEST:
            self.fail(f"at most {_DEEPEST} nested parts")
        if self.accept("not"):
            inner = self.factor(depth + 1)
            return lambda c: ~inner(c)
        if self.accept("("):
            inner = self.expression(depth + 1)
            if not self.accept(")"):
                self.fail(")")
            return inner
        return self.comparison()

    def comparison(self) -> Test:
        values, signs = [self.value()], []
        while sign := self.accept(*_COMPARE):
            signs.append(_COMPARE[sign])
            values.append(self.value())
        if not signs:
            self.fail("a comparison: " + " ".join(_COMPARE))
        pairs = list(zip(signs, values[:-1], values[1:], strict=True))
        return lambda c: np.all([np.asarray(s(a(c), b(c))) for s, a, b in pairs], axis=0)

    def value(self) -> Callable[[Columns], Any]:
        kind, text = self.left[0] if self.left else ("", "")
        if kind not in ("number", "text", "word") or text in ("and", "or", "not"):
            self.fail("a column, a number or 'text'")
        self.left.pop(0)
        if kind == "word":
            self.columns.add(text)
            return lambda c: np.asarray(c[text])
        constant = np.asarray(float(text) if kind == "number" else text[1:-1])
        return lambda c: constant
