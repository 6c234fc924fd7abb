"""Requests: where they come from, checked as a whole before anything runs.

A source is read twice, in pieces: once to check every row, once to serve it. Nothing of it is kept.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plait.errors import PlaitError, SpecError
from plait.files import reason
from plait.sim.serving._state import ARRIVAL

__all__ = ["COLUMNS", "Source", "Summary", "check", "load_requests", "replay"]

COLUMNS = ("arrival_s", "context", "generated")
CHUNK = 8192
_LARGEST_TOKENS = 2**31
_LARGEST_S = 1e12
_LONGEST_LINE = 1 << 20
_READ_BYTES = 1 << 18


class Source(Protocol):
    """Requests in the order of their arrival."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def identity(self) -> str:
        """What makes two sources the same one, as text."""
        ...

    def frames(self) -> Iterator[pd.DataFrame]:
        """Give the rows in pieces, each with `COLUMNS`."""
        ...


@dataclass(frozen=True, slots=True)
class Summary:
    """What a whole source holds.

    Attributes:
        count: requests.
        first_s, last_s: arrivals.
        longest_context, longest_total: tokens of the longest prompt, and with its answer.
        longest_row: row of the latter, from 1.
        context_mean, generated_mean: tokens.
    """

    count: int
    first_s: float
    last_s: float
    longest_context: int
    longest_total: int
    longest_row: int
    context_mean: float
    generated_mean: float


@dataclass(frozen=True, slots=True)
class Table:
    """Requests of a CSV file, gzipped or not, or of a DataFrame."""

    name: str
    identity: str
    open: Callable[[], Iterator[pd.DataFrame]]

    def frames(self) -> Iterator[pd.DataFrame]:
        """Give the rows in pieces."""
        return self.open()


def load_requests(source: str | Path | pd.DataFrame | Mapping[str, Any] | Source) -> Source:
    """Load requests.

    Args:
        source: a CSV file (or the same gzipped) or a DataFrame with the columns arrival_s, context
            (tokens of the prompt) and generated, in any order, others ignored; or a generator's
            description, as a mapping or a YAML file (see `plait.sim.serving.arrivals`).
    """
    from plait.sim.serving.arrivals import Generated, load_generated

    if isinstance(source, Table):
        return source
    if isinstance(source, Generated):
        return source
    if isinstance(source, pd.DataFrame):
        digest = pd.util.hash_pandas_object(source, index=False).sum()
        return Table("requests", f"{len(source)} rows {digest}", lambda: iter([source]))
    if isinstance(source, Mapping):
        return load_generated(source)
    if isinstance(source, str | Path):
        path = Path(source)
        if path.suffix in (".yaml", ".yml"):
            return load_generated(path)
        return Table(str(path), _identity(path), lambda: _csv(path))
    raise SpecError("no requests", got=source, expected="a file, a DataFrame or a mapping")


def _identity(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise PlaitError(f"cannot be read: {reason(error)}", where=str(path)) from None
    except ValueError:
        raise PlaitError("not a file name", got=str(path)) from None
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def _csv(path: Path) -> Iterator[pd.DataFrame]:
    where = str(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        options: dict[str, Any] = {"compression": None, "chunksize": CHUNK}
        # words that pandas would take for a missing value stay words, for the message to quote
        options |= {"keep_default_na": False, "na_values": [""]}
        with (
            gzip.open(path, "rb") if zipped else open(path, "rb") as raw,
            io.BufferedReader(_ShortLines(cast(BinaryIO, raw), where), _READ_BYTES) as lines,
            pd.read_csv(lines, skipinitialspace=True, **options) as pieces,
        ):
            yield from pieces
    except pd.errors.EmptyDataError:
        raise _no_header(where, "an empty file") from None
    except pd.errors.ParserError as error:
        raise SpecError(
            f"not a table: {str(error).strip().splitlines()[-1]}", where=where
        ) from None
    except UnicodeDecodeError:
        raise SpecError("not text", where=where, expected="a CSV file in UTF-8") from None
    except EOFError:
        raise SpecError("a damaged or cut gzip file", where=where) from None
    except OSError as error:
        raise PlaitError(f"cannot be read: {reason(error)}", where=where) from None
    except Exception as error:  # zlib.error and its like have no common parent
        if type(error).__module__ in ("zlib", "gzip"):
            raise SpecError("a damaged or cut gzip file", where=where) from None
        raise


class _ShortLines(io.RawIOBase):
    """Bytes of a table, refused where a line is longer than any: memory holds a line whole."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file, self._where, self._length = file, where, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        end = data.rfind(b"\n")
        self._length = self._length + len(data) if end < 0 else len(data) - end - 1
        if self._length > _LONGEST_LINE:
            expected = f"at most {_LONGEST_LINE:,} bytes"
            raise SpecError("a line is too long", where=self._where, expected=expected)
        buffer[: len(data)] = data
        return len(data)


def _no_header(where: str, what: str) -> SpecError:
    return SpecError(what, where=where, expected=f"the columns {', '.join(COLUMNS)}")


def check(source: Source) -> Summary:
    """Read all requests once and refuse the first row that makes no sense."""
    count, first, last, longest = 0, 0.0, -math.inf, (0, 0)
    longest_context, sums = 0, np.zeros(2)
    for frame in source.frames():
        values = _numbers(source, frame, count)
        arrival, context, generated = values
        if not len(arrival):
            continue
        backwards = np.diff(arrival, prepend=last) < 0
        if backwards.any():
            k = int(np.argmax(backwards))
            before = arrival[k - 1] if k else last
            raise SpecError(
                "time runs backwards",
                where=f"{source.name}: row {count + k + 1}: arrival_s",
                got=float(arrival[k]),
                expected=f"at least {before:g}, that of the row before",
            )
        first = first if count else float(arrival[0])
        last = float(arrival[-1])
        total = context + generated
        k = int(np.argmax(total))
        longest = max(longest, (int(total[k]), -(count + k + 1)))
        longest_context = max(longest_context, int(context.max()))
        sums += context.sum(), generated.sum()
        count += len(arrival)
    if not count:
        raise SpecError("no requests", where=source.name, expected="one row or more")
    means = sums / count
    return Summary(
        count,
        first,
        last,
        longest_context,
        longest[0],
        -longest[1],
        float(means[0]),
        float(means[1]),
    )


def replay(
    source: Source, first_s: float, rate_scale: float, skip: int = 0
) -> Iterator[NDArray[np.void]]:
    """Give the checked requests as `ARRIVAL` records, on a clock that starts with the first.

    Args:
        first_s: arrival of the first request.
        rate_scale: how many times as fast they arrive; infinite: all at once.
        skip: requests to leave out at the start.
    """
    count = 0
    for frame in source.frames():
        begin = min(max(skip - count, 0), len(frame))
        rows = np.zeros(len(frame) - begin, ARRIVAL)
        if len(rows):
            arrival, context, generated = _numbers(source, frame.iloc[begin:], count + begin)
            rows["id"] = np.arange(count + begin, count + len(frame))
            rows["arrival_s"] = (arrival - first_s) / rate_scale
            rows["prompt"], rows["generated"] = context, generated
            yield rows
        count += len(frame)


def _numbers(source: Source, frame: pd.DataFrame, before: int) -> list[NDArray[np.float64]]:
    """The three columns as numbers, every one checked; rows are counted from 1 in messages."""
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, list(frame.columns)[:8]))
        raise _no_header(source.name, f"no column {missing[0]} among {found}")
    columns = []
    for name in COLUMNS:
        values = _floats(frame[name])
        is_time = name == "arrival_s"
        low, high = (0, _LARGEST_S) if is_time else (1, _LARGEST_TOKENS)
        bad = ~((values >= low) & (values <= high))
        if not is_time:
            bad |= values != np.floor(values)
        if bad.any():
            k = int(np.argmax(bad))
            raise SpecError(
                "out of range" if np.isfinite(values[k]) else "not a number",
                where=f"{source.name}: row {before + k + 1}: {name}",
                got=_plain(frame[name].iloc[k]),
                expected="seconds, 0 or more" if is_time else "whole tokens, 1 or more",
            )
        columns.append(values)
    return columns


def _floats(column: pd.Series) -> NDArray[np.float64]:
    """The numbers of a column: NaN for what is none, infinity for what no double holds."""
    try:
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    except OverflowError:  # an integer of hundreds of digits, which pandas keeps as one
        texts = column.astype(str)
        return pd.to_numeric(texts.where(texts.str.len() < 300, "inf"), "coerce").to_numpy(
            np.float64
        )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return "nothing"
    return value.item() if isinstance(value, np.generic) else value
