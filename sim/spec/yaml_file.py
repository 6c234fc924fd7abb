"""The one reader of YAML files: numbers as people write them, and every mistake on one line.

PyYAML alone reads ``45.7e9`` as text, ``010`` as eight, ``on`` as true and keeps the last of two
equal keys. This reader takes only the tree of nodes from it (nothing is ever constructed from a
tag) and decides itself what a scalar is. Aliases are refused: no file of ours needs one, and they
are how a kilobyte becomes a gigabyte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plait.errors import SpecError
from plait.files import reason

__all__ = ["Document", "parse_yaml", "read_yaml"]

_LARGEST_FILE_BYTES = 1 << 20
_DEEPEST = 16
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\Z")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in (
    "map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value"
)}  # fmt: skip
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one: same nodes, 10x faster


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file's value, with the line of every key for messages."""

    data: Any
    source: str
    lines: dict[str, int]

    def place(self, key: str) -> str:
        """Give ``file:line`` of a dotted key, or of its nearest parent that the file has."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.source}:{self.lines[key]}" if key else self.source


def read_yaml(path: str | Path) -> Document:
    """Read a YAML file that holds a mapping."""
    source = str(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise SpecError(f"cannot be read: {reason(error)}", where=source) from None
    except ValueError:  # an embedded null character
        raise SpecError("not a file name", got=source) from None
    if len(raw) > _LARGEST_FILE_BYTES:
        raise SpecError("too large for a description", where=source, expected="at most 1 MiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError("not text", where=source, expected="a YAML file in UTF-8") from None
    return parse_yaml(text, source)


def parse_yaml(text: str, source: str = "<text>") -> Document:
    """Read YAML text that holds a mapping.

    >>> parse_yaml("network: {bandwidth_bytes_per_s: 45.7e9}").data
    {'network': {'bandwidth_bytes_per_s': 45700000000.0}}
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _syntax_error(error, source) from None
    except (RecursionError, ValueError):
        raise SpecError("not YAML that can be read", where=source) from None
    lines: dict[str, int] = {}
    data = None if root is None else _Walk(source, lines).value(root, "", 0)
    if not isinstance(data, dict):
        raise SpecError("not a description", where=source, expected="a mapping of keys to values")
    return Document(data, source, lines)


def _syntax_error(error: yaml.YAMLError, source: str) -> SpecError:
    mark = getattr(error, "problem_mark", None)
    where = f"{source}:{mark.line + 1}" if mark is not None else source
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    return SpecError(f"not YAML: {problem}", where=where)


class _Walk:
    """One pass over the nodes; remembers what it has seen, so that an alias is noticed."""

    def __init__(self, source: str, lines: dict[str, int]) -> None:
        self.source, self.lines = source, lines
        self.seen: set[int] = set()

    def value(self, node: yaml.Node, key: str, depth: int) -> Any:
        self.check(node, key, depth)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self.value(item, f"{key}[{i}]", depth + 1) for i, item in items]
        return _scalar(node)

    def mapping(self, node: yaml.MappingNode, key: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, key, "a key must be plain text")
            name = str(key_node.value)
            path = f"{key}.{name}" if key else name
            if name in found:
                raise self.error(key_node, path, "given twice", expected="once")
            self.lines[path] = key_node.start_mark.line + 1
            found[name] = self.value(value_node, path, depth + 1)
        return found

    def check(self, node: yaml.Node, key: str, depth: int) -> None:
        if id(node) in self.seen:
            raise self.error(node, key, "aliases (*name) are not allowed, write the value out")
        self.seen.add(id(node))
        if depth > _DEEPEST:
            raise self.error(node, key[:60], "nested too deeply", expected=f"{_DEEPEST} levels")
        if node.tag not in _PLAIN_TAGS:
            raise self.error(node, key, "tags are not allowed", got=node.tag)

    def error(self, node: yaml.Node, key: str, what: str, **more: Any) -> SpecError:
        place = f"{self.source}:{node.start_mark.line + 1}"
        return SpecError(what, where=f"{place}: {key}" if key else place, **more)


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if getattr(node, "style", None):  # quoted or a block: text, whatever it looks like
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text) and len(text) < 32:
        return int(text)
    return float(text) if _FLOAT.match(text) else text
