"""Graphs kept as JSON in the user's cache folder, so that a zoo model is traced once.

The key is a hash of what the graph was made from and of the code that made it: an entry never goes
stale, it is only no longer asked for. A damaged entry is made again; a folder that cannot be
written only costs time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from plait.errors import GraphError, PlaitError
from plait.files import cache_folder, write_atomically
from plait.models.graph.graph import Graph

__all__ = ["cached"]

_TRACED_WITH = ("torch", "transformers")


def cached(source: str, make: Callable[[], Graph]) -> Graph:
    """Return the graph made from ``source``, from the cache if it is there.

    Args:
        source: text that determines the graph, together with the code.
        make: makes the graph.
    """
    key = hashlib.sha256(f"{_code_version()}\n{source}".encode()).hexdigest()[:32]
    path = cache_folder() / "graphs" / f"{key}.json"
    with contextlib.suppress(OSError, UnicodeDecodeError, GraphError):
        return Graph.from_json(path.read_text(encoding="utf-8"))
    graph = make()
    with contextlib.suppress(OSError, PlaitError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as temporary:  # another process sees the whole file or none
            temporary.write_text(graph.to_json(), encoding="utf-8")
    return graph


@functools.cache
def _code_version() -> str:
    """Hash of the code that makes graphs, and the versions of what traces the models."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.rglob("*.py"), *(here.parent / "llm").glob("*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    for package in _TRACED_WITH:
        digest.update(metadata.version(package).encode())
    return digest.hexdigest()
