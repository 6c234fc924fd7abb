"""Finished chunks of a sweep on disk: a run that was killed goes on where it was.

While a run is under way, ``sweep.parquet.parts`` stands beside ``sweep.parquet``: a manifest with
the hash of the space, and one file a finished chunk, written under a temporary name and renamed.
At the end the chunks become the one file and the folder goes.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import PlaitError
from plait.files import reason, write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Store", "is_result_of", "read_sweep"]

_MARK = b"plait_space"


class Store:
    """The chunks of one sweep.

    Args:
        path: the parquet file to be.
        fingerprint: hash of the space.
        chunk: designs of a chunk; a run that goes on keeps the one it began with.
        count: designs of the space.
    """

    def __init__(self, path: Path, fingerprint: str, chunk: int, count: int) -> None:
        self.path, self.fingerprint, self.count = path, fingerprint, count
        self.folder = path.with_name(path.name + ".parts")
        self.chunk = self._begin(chunk)

    def _begin(self, chunk: int) -> int:
        manifest = self.folder / "manifest.json"
        try:
            self.folder.mkdir(exist_ok=True)
            if manifest.exists():
                return self._resumed(manifest)
            for stray in self.folder.glob("*.parquet"):  # a crash before the manifest was there
                stray.unlink()
        except OSError as error:
            raise PlaitError(f"cannot be written: {reason(error)}", where=str(self.path)) from None
        told = {"space": self.fingerprint, "chunk_designs": chunk, "designs": self.count}
        try:
            with write_atomically(manifest) as temporary:
                temporary.write_text(json.dumps(told, indent=1) + "\n")
        except PlaitError:
            with suppress(OSError):  # another run may have begun there
                self.folder.rmdir()
            raise
        return chunk

    def _resumed(self, manifest: Path) -> int:
        try:
            told: dict[str, Any] = json.loads(manifest.read_text())
            same, chunk = told["space"] == self.fingerprint, int(told["chunk_designs"])
        except (ValueError, TypeError, KeyError):
            same, chunk = False, 0
        if not same or chunk < 1:
            raise PlaitError(
                "holds the unfinished run of another space", where=str(self.folder),
                hint="remove that folder, or write to another file",
            )  # fmt: skip
        return chunk

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of the folder while this one writes."""
        with open(self.folder / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise PlaitError("is being written by another run", where=str(self.path)) from None
            yield

    def part(self, index: int) -> Path:
        """Give the file of a chunk."""
        return self.folder / f"{index:08d}.parquet"

    def missing(self) -> list[int]:
        """List the chunks that are not finished."""
        done = {path.name for path in self.folder.glob("[0-9]*.parquet")}
        return [i for i in range(self.chunks) if self.part(i).name not in done]

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.count // self.chunk)

    def bounds(self, index: int) -> tuple[int, int]:
        """Give first design and end of a chunk."""
        return index * self.chunk, min(self.count, (index + 1) * self.chunk)

    def write(self, index: int, frame: pd.DataFrame) -> None:
        """Keep a finished chunk."""
        with write_atomically(self.part(index)) as temporary:
            frame.to_parquet(temporary, index=False)

    def finish(self) -> None:
        """Make the one file of all chunks, and remove the folder."""
        import pyarrow.parquet as pq

        schema = self._schema()
        with (
            write_atomically(self.path) as temporary,
            pq.ParquetWriter(temporary, schema) as writer,
        ):
            for index in range(self.chunks):
                writer.write_table(pq.read_table(self.part(index)).cast(schema))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _schema(self) -> pa.Schema:
        """Columns of all chunks: one that is whole numbers in some and NaN in others is double."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = [pq.read_schema(self.part(index)) for index in range(self.chunks)]
        one = pa.unify_schemas(
            [part.remove_metadata() for part in parts], promote_options="permissive"
        )
        return one.with_metadata({_MARK: self.fingerprint.encode()})


def is_result_of(path: Path, fingerprint: str) -> bool:
    """Tell whether a file is the finished result of this very space.

    Raises:
        PlaitError: the file is something else, which a sweep would overwrite.
    """
    import pyarrow.parquet as pq

    if not path.exists():
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, ValueError):
        metadata = {}
    if metadata.get(_MARK) == fingerprint.encode():
        return True
    raise PlaitError(
        "is there already, and not the result of this space", where=str(path),
        hint="--overwrite replaces it",
    )  # fmt: skip


def read_sweep(path: str | Path) -> pd.DataFrame:
    """Read what a sweep wrote.

    Raises:
        PlaitError: the file is not there, or is not parquet.
    """
    import pandas as pd

    if not Path(path).is_file():
        raise PlaitError("no such file", where=str(path))
    try:
        return pd.read_parquet(path)
    except OSError as error:
        raise PlaitError(f"cannot be read: {reason(error)}", where=str(path)) from None
    except ValueError:  # pyarrow.ArrowInvalid
        raise PlaitError("not a parquet file that a sweep wrote", where=str(path)) from None
