"""The command line: takes names and files, gives text or one JSON document.

No logic lives here: every command calls a verb of plait.api and shows what it returns.
"""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 a comparison failed, 2 bad input."""
    from plait.cli.run import run

    return run(arguments)
