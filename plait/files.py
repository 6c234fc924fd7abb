"""Where files are kept, reading text, writing files whole or not at all; errors of one line."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plait.errors import PlaitError, SpecError

__all__ = [
    "cache_folder",
    "read_text",
    "reason",
    "refuse_unwritable",
    "text_around",
    "write_atomically",
]

_LARGEST_TEXT_BYTES = 1 << 28


class _EnoughError(Exception):
    """Ends a trial of writing."""


def cache_folder() -> Path:
    """Folder for what can be made again: graphs, built simulators, results of synthesis.

    The environment's PLAIT_CACHE, else the user's cache folder.
    """
    chosen = os.environ.get("PLAIT_CACHE")
    if chosen:
        return Path(chosen)
    import platformdirs

    return platformdirs.user_cache_path("plait", appauthor=False)


def read_text(path: str | Path) -> str:
    """Read a file of UTF-8 text, or the same gzipped (told by its first bytes)."""
    source = str(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else open(path, "rb") as file:
            raw = file.read(_LARGEST_TEXT_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise PlaitError("a damaged or cut gzip file", where=source) from None
    except OSError as error:
        raise PlaitError(f"cannot be read: {reason(error)}", where=source) from None
    except ValueError:  # an embedded null character
        raise PlaitError("not a file name", got=source) from None
    if len(raw) > _LARGEST_TEXT_BYTES:
        raise PlaitError("too much text", where=source, expected="at most 256 MiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise PlaitError("not text", where=source, expected="UTF-8") from None


def text_around(path: str | Path, begin: str, end: str) -> tuple[str, str]:
    """Give the text before a marker and that behind another, between which a program writes.

    Raises:
        SpecError: the file lacks one of them.
    """
    before, begins, rest = read_text(path).partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise SpecError("no place for the table", where=str(path), expected=f"{begin} and {end}")
    return before, after


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; move it there at the end, remove it on any failure.

    A link keeps its place and what it points to is replaced; a device or a pipe (``/dev/stdout``)
    is written to, once all is known.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with write_atomically(target) as temporary:
    ...     size = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    try:
        target = path.resolve()
        is_special = target.exists() and not target.is_file()
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.",
            suffix=target.suffix,
            dir=None if is_special else target.parent,
        )
        os.close(handle)
    except (OSError, RuntimeError, ValueError) as error:  # also a loop of links, a null character
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        if is_special:
            with open(temporary, "rb") as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
        else:
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are for the owner alone
            os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def refuse_unwritable(path: str | Path) -> None:
    """Complain now, rather than after minutes of work, where a file could not be written."""
    with suppress(_EnoughError), write_atomically(path):
        raise _EnoughError  # so that nothing is moved into place


def reason(error: OSError) -> str:
    """What the system said, in lower case and without the number.

    >>> reason(FileNotFoundError(2, "No such file or directory"))
    'no such file or directory'
    """
    return (error.strerror or str(error) or type(error).__name__).lower()


def _cannot_write(path: Path, error: Exception) -> PlaitError:
    why = reason(error) if isinstance(error, OSError) else str(error)
    return PlaitError(f"cannot be written: {why}", where=str(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
