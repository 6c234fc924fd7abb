"""The formats by name. A new format is one entry in a module's ``FORMATS``; a new family of them
is one file and one name in the list below."""

from __future__ import annotations

from importlib import import_module

from plait.errors import FormatError, unknown_name
from plait.models.formats.base import Format

__all__ = ["MODULES", "get", "names", "register"]

MODULES = ("integer", "minifloat", "bitmod", "ant", "olive", "mx", "codebook")
_formats: dict[str, Format] = {}


def register(fmt: Format) -> Format:
    """Add a format; a name that is taken is an error."""
    if fmt.name in _formats:
        raise FormatError("a format of this name exists", got=fmt.name)
    _formats[fmt.name] = fmt
    return fmt


def get(name: str | Format) -> Format:
    """The format of that name (a Format is handed back).

    >>> get("mxfp4").bits
    4.25
    """
    if isinstance(name, Format):
        return name
    if isinstance(name, str) and name not in _formats:
        from plait.models.formats.codebook import parse

        parsed = parse(name)
        if parsed:
            return register(parsed)
    if not isinstance(name, str) or name not in _formats:
        raise FormatError(unknown_name("format", name, _formats))
    return _formats[name]


def names() -> list[str]:
    """All names, in the order of registration."""
    return list(_formats)


for _module in MODULES:
    for _format in import_module(f"plait.models.formats.{_module}").FORMATS:
        register(_format)
