"""One line out of a pydantic report: the first mistake, with its key and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from plait.errors import SpecError

__all__ = ["Complaint", "first_complaint"]

_BOUNDS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "at most {}"),
}
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with one key of a description."""

    key: str
    what: str
    expected: str = ""
    hint: str = ""
    got: object = None
    has_got: bool = False

    def error(self, source: str, key: str | None = None) -> SpecError:
        """Make the exception; ``source`` is the file (and line) or the machine's name."""
        where = ": ".join(part for part in (source, self.key if key is None else key) if part)
        shown = {"got": self.got} if self.has_got else {}
        return SpecError(self.what, where=where, expected=self.expected, hint=self.hint, **shown)


def first_complaint(error: ValidationError, schema: type[BaseModel]) -> Complaint:
    """Turn pydantic's report into the complaint a user should read first."""
    details = error.errors(include_url=False)
    # An unknown key is usually a misspelt one: it explains the "missing" beside it.
    details.sort(key=lambda detail: detail["type"] != "extra_forbidden")
    chosen = details[0]
    location = [str(part) for part in chosen["loc"]]
    others = len(details) - 1
    hint = f"and {others} more in this description" if others else ""
    return _complaint(dict(chosen), location, schema, hint)


def _complaint(
    detail: dict[str, Any], location: list[str], schema: type[BaseModel], hint: str
) -> Complaint:
    key, kind, got = ".".join(location), detail["type"], detail.get("input")
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        what, expected = _unknown_key(location, schema)
        return Complaint(key, what, expected, hint)
    if kind == "missing":
        return Complaint(key, "missing", hint=hint)
    if kind in _BOUNDS:
        name, phrase = _BOUNDS[kind]
        return Complaint(key, "out of range", phrase.format(f"{context[name]:g}"), hint, got, True)
    if kind == "literal_error":
        return Complaint(key, "not one of the choices", context["expected"], hint, got, True)
    if kind == "string_pattern_mismatch":
        return Complaint(key, "not a name", "letters, digits, . _ and -", hint, got, True)
    if kind == "value_error":  # a rule of ours: its sentence is complete
        return Complaint(key, str(context.get("error", detail["msg"])), hint=hint)
    if kind in _TYPES:
        return Complaint(key, "wrong type", _TYPES[kind], hint, got, True)
    return Complaint(key, str(detail["msg"]), "", hint, got, True)


def _unknown_key(location: Sequence[str], schema: type[BaseModel]) -> tuple[str, str]:
    known = sorted(_fields_at(schema, location[:-1]))
    near = difflib.get_close_matches(location[-1], known, n=2, cutoff=0.6)
    if near:
        return f"unknown key: did you mean {' or '.join(near)}?", ""
    return "unknown key", "one of " + ", ".join(known)


def _fields_at(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        field = schema.model_fields.get(part)
        models = _models_in(field.annotation) if field else []
        if models:
            schema = models[0]
    return list(schema.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
