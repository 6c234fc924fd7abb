"""Runs a command and turns every mistake of a user into one line and an exit status."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from plait.errors import PlaitError
from plait.files import reason

__all__ = ["run"]

BAD_INPUT = 2
INTERRUPTED = 130

# Typer carries its own copy of click, whose place has moved before; these two are public by name.
_UsageError: Any = typer.BadParameter.__mro__[1]
_ClickError: Any = typer.BadParameter.__mro__[2]


def run(arguments: list[str] | None = None) -> int:
    """Run ``plait`` with the given arguments (the process's own by default)."""
    from plait.cli.app import app

    try:
        status = app(arguments, prog_name="plait", standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        return _fail(_usage_line(error))
    except _ClickError as error:
        return _fail(error.format_message())
    except PlaitError as error:
        return _fail(str(error))
    except BrokenPipeError:
        _give_up_stdout()
        return 0
    except OSError as error:
        return _fail(f"{error.filename}: {reason(error)}" if error.filename else reason(error))
    except MemoryError:
        return _fail("not enough memory for this size")
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    if status == INTERRUPTED:  # Typer turns the signal into this status itself
        return _fail("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _usage_line(error: Any) -> str:
    """The mistake, and which command's help explains it."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "plait"
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]} (see {command} --help)"


def _fail(message: str, status: int = BAD_INPUT) -> int:
    sys.stdout.flush()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _give_up_stdout() -> None:
    """The reader of a pipe has left (``plait models | head -1``): nothing more can be said."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
