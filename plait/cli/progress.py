"""Progress on standard error, only where someone looks and only when the work is long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Progressing", "progress"]

_PATIENCE_S = 2.0


class Progressing:
    """What long work tells of itself; it costs nothing when nobody looks."""

    def __init__(self, bar: Progress | None, what: str) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=None) if bar else None

    def say(self, what: str) -> None:
        """Say what is being done now."""
        if self._bar and self._task is not None:
            self._bar.reset(self._task, total=None, description=what)

    def advance(self, done: float, total: float) -> None:
        """Say how much of it is done."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)


@contextmanager
def progress(what: str) -> Iterator[Progressing]:
    """Show a bar on standard error if that is a terminal and two seconds have passed.

    Work that never says how much of it is done gets a bar that pulses.
    """
    if not sys.stderr.isatty():
        yield Progressing(None, what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    timer = threading.Timer(_PATIENCE_S, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield Progressing(bar, what)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
