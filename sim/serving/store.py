"""A run on disk: finished requests in parts, and a checkpoint to go on from after a kill.

Every file appears whole or not at all. A checkpoint names the parts that were written before it; a
part that a kill left behind it is written again, with the same rows.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plait.errors import PlaitError, SpecError
from plait.files import reason, write_atomically
from plait.sim.serving._state import State

__all__ = ["Memory", "Store"]

_EVERY_S = 1.0  # at most this much work is done twice after a kill


class Memory:
    """Finished requests kept in memory; no checkpoints."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.void]] = []

    def restore(self) -> dict[str, NDArray[Any]] | None:
        """Nothing is ever kept from before."""
        return None

    def write(self, rows: NDArray[np.void]) -> None:
        """Keep finished requests."""
        self._parts.append(rows.copy())

    def checkpoint(self, state: State, more: dict[str, NDArray[Any]], force: bool = False) -> None:
        """Do nothing."""

    def rows(self) -> NDArray[np.void]:
        """All finished requests."""
        return np.concatenate(self._parts)


class Store:
    """Finished requests and checkpoints in a folder.

    Args:
        folder: made if it does not exist; one run a folder.
        identity: of what is run; a folder of another run is refused.
    """

    def __init__(self, folder: str | Path, identity: str) -> None:
        self.folder = Path(folder)
        self._pending: list[NDArray[np.void]] = []
        self._parts, self._due = 0, time.monotonic() + _EVERY_S
        digest = hashlib.sha256(identity.encode()).hexdigest()
        is_new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlaitError(f"cannot be written: {reason(error)}", where=str(folder)) from None
        label = self.folder / "run.json"
        if label.exists():
            if self._label(label) != digest:
                raise SpecError(
                    "holds another run",
                    where=str(folder),
                    hint="another trace, cluster or version: give an empty folder",
                )
        elif any(self.folder.iterdir()):
            raise SpecError("is not empty and holds no run", where=str(folder))
        else:
            try:
                with write_atomically(label) as temporary:
                    temporary.write_text(json.dumps({"sha256": digest}) + "\n")
            except PlaitError:
                if is_new:
                    with suppress(OSError):
                        self.folder.rmdir()
                raise

    @staticmethod
    def _label(path: Path) -> str:
        try:
            return str(json.loads(path.read_text())["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.npz"

    def _part(self, number: int) -> Path:
        return self.folder / f"requests-{number:06}.parquet"

    def restore(self) -> dict[str, NDArray[Any]] | None:
        """Give the arrays of the last checkpoint, None if there is none."""
        if not self._checkpoint.exists():
            return None
        try:
            with np.load(self._checkpoint, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
            self._parts = int(arrays.pop("parts"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise PlaitError(f"cannot be read: {error}", where=str(self._checkpoint)) from None
        return arrays

    def write(self, rows: NDArray[np.void]) -> None:
        """Keep finished requests until the next checkpoint."""
        self._pending.append(rows.copy())

    def checkpoint(self, state: State, more: dict[str, NDArray[Any]], force: bool = False) -> None:
        """Write what is new, if the last time is long enough ago."""
        if not force and time.monotonic() < self._due:
            return
        rows = np.concatenate(self._pending) if self._pending else state.finished[:0]
        if len(rows):
            frame = pd.DataFrame({name: rows[name] for name in rows.dtype.names or ()})
            with write_atomically(self._part(self._parts)) as temporary:
                frame.to_parquet(temporary, index=False)
            self._parts += 1
        self._pending = []
        arrays: dict[str, Any] = {"parts": np.array(self._parts), **state._asdict(), **more}
        with write_atomically(self._checkpoint) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        self._due = time.monotonic() + _EVERY_S

    def rows(self) -> NDArray[np.void]:
        """All finished requests, read back."""
        return np.concatenate(list(self._read()))

    def _read(self) -> Iterator[NDArray[np.void]]:
        from plait.sim.serving._state import FINISHED

        for number in range(self._parts):
            frame = pd.read_parquet(self._part(number))
            rows = np.zeros(len(frame), FINISHED)
            for name in FINISHED.names or ():
                rows[name] = frame[name]
            yield rows
