"""What decides a result, as a hash: descriptions, and the content of every file that they name.

A sweep or a run of serving that goes on in a file or folder is refused where this differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plait.errors import PlaitError
from plait.files import reason
from plait.models.graph.graph import Graph

__all__ = ["identity"]


def identity(*told: Any) -> str:
    """Hash numbers, texts, graphs and mappings or lists of them, in hexadecimal.

    A text that names a file, or a folder with a config.json, stands for its content, too.

    >>> identity({"b": 1, "a": "x"}) == identity({"a": "x", "b": 1})
    True
    """
    plain = [_plain(one) for one in told]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for path in sorted({path for one in plain for path in _files(one)}):
        try:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise PlaitError(f"cannot be read: {reason(error)}", where=str(path)) from None
    return digest.hexdigest()


def _plain(told: Any) -> Any:
    """As JSON has it."""
    if isinstance(told, Graph):
        return json.loads(told.to_json())
    if isinstance(told, Mapping):
        return {str(key): _plain(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_plain(value) for value in told]
    return told if isinstance(told, str | int | float | bool | None) else str(told)


def _files(plain: Any) -> Iterator[Path]:
    """The files that texts name; a name without ending or folder is that of a preset."""
    if isinstance(plain, Mapping):
        plain = list(plain.values())
    if isinstance(plain, list):
        for value in plain:
            yield from _files(value)
    elif isinstance(plain, str):
        path = Path(plain)
        try:
            if path.is_dir() and (path / "config.json").is_file():
                yield path / "config.json"
            elif (path.suffix or len(path.parts) > 1) and path.is_file():
                yield path
        except (OSError, ValueError):  # too long for a name, or with an embedded null character
            return
