"""Runs a sweep: chunks of designs through an executor, into a frame or a resumable file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import PlaitError, SpecError, ToolError, unknown_name
from plait.sim.sweep.evaluate import Evaluator
from plait.sim.sweep.space import Space, load_space
from plait.sim.sweep.store import Store, is_result_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXECUTORS", "sweep"]

EXECUTORS = ("threads", "processes", "dask")
_CHUNK_DESIGNS = 1 << 16
_CHUNK_CASES = 64  # designs of a chunk where each is costed by itself
_IN_FLIGHT = 4  # chunks a worker that are submitted but not yet stored: bounds the memory

Progress = Callable[[int, int], None]
Extra = Mapping[str, Mapping[Any, Mapping[str, float]]]


def sweep(
    space: str | Path | Mapping[str, Any] | Space,
    graph: object = None,
    out: str | Path | None = None,
    *,
    executor: str = "threads",
    workers: int | None = None,
    address: str | None = None,
    overwrite: bool = False,
    extra: Extra | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Cost every design of a space.

    Args:
        space: a YAML file, or the same as a mapping.
        graph: a Graph in place of the key ``model``.
        out: a parquet file; a run that was killed and is called again repeats only the chunks that
            were in flight, one that had finished is read back.
        executor: threads (NumPy in one process), processes, or dask.
        workers: how many; the number of processors by default.
        address: of a running Dask scheduler; without it a local cluster is made.
        overwrite: replace an ``out`` that is the result of another space.
        extra: columns to add by the value of an axis: axis -> value -> column -> number.
        progress: called with the designs done and the designs in all.

    Returns:
        A column an axis, then cycles, seconds, energy_joules, bytes, area_mm2 and bound.

    Raises:
        SpecError: a key, a value or the constraint is not what it should be.
        PlaitError: ``out`` cannot be written, is another space's, or another run writes it.
    """
    import pandas as pd

    if executor not in EXECUTORS:
        raise SpecError(unknown_name("executor", executor, EXECUTORS), where="executor")
    described = load_space(space, graph)
    job = _Job(described, extra or {})
    size = _CHUNK_DESIGNS if job.is_vectorised else _CHUNK_CASES
    if out is None:
        job.check()
        pieces = [(i, min(len(described), i + size)) for i in range(0, len(described), size)]
        parts = dict(_run(job, dict(enumerate(pieces)), executor, workers, address, progress, 0))
        return pd.concat([parts[index] for index in sorted(parts)], ignore_index=True)
    path = Path(out)
    if path.suffix != ".parquet":
        raise SpecError("not a .parquet file", where="out", got=str(path))
    if overwrite or not is_result_of(path, described.fingerprint):
        _into(path, job, size, executor, workers, address, progress)
    return pd.read_parquet(path)


def _into(
    path: Path,
    job: _Job,
    size: int,
    executor: str,
    workers: int | None,
    address: str | None,
    progress: Progress | None,
) -> None:
    job.check()
    store = Store(path, job.space.fingerprint, size, len(job.space))
    with store.locked():
        missing = store.missing()
        pieces = {index: store.bounds(index) for index in missing}
        done = store.count - sum(stop - start for start, stop in pieces.values())
        for index, frame in _run(job, pieces, executor, workers, address, progress, done):
            store.write(index, frame)
        store.finish()


class _Job:
    """What a worker does; pickled to processes, where the evaluator is made afresh once."""

    def __init__(self, space: Space, extra: Extra) -> None:
        self.space, self.extra = space, extra
        self._evaluator: Evaluator | None = None

    def __getstate__(self) -> tuple[Space, Extra]:
        return self.space, self.extra

    def __setstate__(self, state: tuple[Space, Extra]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    @property
    def evaluator(self) -> Evaluator:
        if self._evaluator is None:
            self._evaluator = Evaluator(self.space)
        return self._evaluator

    @property
    def is_vectorised(self) -> bool:
        return bool(self.evaluator.array_axes)

    def check(self) -> None:
        """Refuse what would fail, or mean nothing, hours later."""
        self.evaluator.check(self.extra)

    def __call__(self, start: int, stop: int) -> pd.DataFrame:
        return self.evaluator.frame(start, stop, self.extra)


_job: _Job | None = None


def _remember(job: _Job) -> None:
    global _job
    _job = job


def _remembered(start: int, stop: int) -> pd.DataFrame:
    assert _job is not None
    return _job(start, stop)


def _run(
    job: _Job,
    pieces: Mapping[int, tuple[int, int]],
    executor: str,
    workers: int | None,
    address: str | None,
    progress: Progress | None,
    done: int,
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Give finished chunks as they come, a bounded number of them in flight."""
    count = workers or os.cpu_count() or 1
    runner = {"threads": _in_threads, "processes": _in_processes, "dask": _in_dask}[executor]
    for index, frame in runner(job, pieces, count, address):
        done += pieces[index][1] - pieces[index][0]
        if progress:
            progress(done, len(job.space))
        yield index, frame


def _in_threads(
    job: _Job, pieces: Mapping[int, tuple[int, int]], count: int, address: str | None
) -> Iterator[tuple[int, pd.DataFrame]]:
    """NumPy lets go of the interpreter inside its loops; only array costs gain from threads."""
    job.evaluator.load()
    with ThreadPoolExecutor(count if job.is_vectorised else 1) as pool:
        yield from _flow(pool, job, pieces, count)


def _in_processes(
    job: _Job, pieces: Mapping[int, tuple[int, int]], count: int, address: str | None
) -> Iterator[tuple[int, pd.DataFrame]]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    spawn = get_context("spawn")  # fork copies locks that numba's and NumPy's threads hold
    try:
        with ProcessPoolExecutor(count, spawn, _remember, (job,)) as pool:
            yield from _flow(pool, _remembered, pieces, count)
    except BrokenProcessPool:
        raise PlaitError(
            "a worker process was killed", where="processes",
            hint="what was finished is kept: run the same again",
        ) from None  # fmt: skip


def _flow(
    pool: Executor,
    work: Callable[[int, int], pd.DataFrame],
    pieces: Mapping[int, tuple[int, int]],
    count: int,
) -> Iterator[tuple[int, pd.DataFrame]]:
    left = iter(pieces.items())
    flying: dict[Future[Any], int] = {}
    try:
        while True:
            for index, bounds in _take(left, count * _IN_FLIGHT - len(flying)):
                flying[pool.submit(work, *bounds)] = index
            if not flying:
                return
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                yield flying.pop(future), future.result()
    finally:
        for future in flying:
            future.cancel()


def _take(items: Iterator[Any], count: int) -> Iterable[Any]:
    for _ in range(count):
        item = next(items, None)
        if item is None:
            return
        yield item


def _in_dask(
    job: _Job, pieces: Mapping[int, tuple[int, int]], count: int, address: str | None
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Dask gives the chunks of a worker that died to another one."""
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError:
        raise ToolError(
            "is not installed", where="distributed", hint="pip install distributed"
        ) from None
    cluster = None if address else LocalCluster(n_workers=count, threads_per_worker=1)
    try:
        with Client(address or cluster) as client:
            shared = client.scatter(job, broadcast=True, hash=False)
            left = iter(pieces.items())
            flying: dict[str, int] = {}
            results = as_completed([], with_results=True)

            def submit(number: int) -> None:
                for index, bounds in _take(left, number):
                    future = client.submit(_call, shared, *bounds, pure=False, retries=3)
                    flying[future.key] = index
                    results.add(future)

            submit(count * _IN_FLIGHT)
            for future, frame in results:
                yield flying.pop(future.key), frame
                submit(1)
    except OSError as error:
        raise PlaitError(f"no Dask scheduler: {error}", where=str(address)) from None
    finally:
        if cluster:
            cluster.close()


def _call(job: _Job, start: int, stop: int) -> pd.DataFrame:
    return job(start, stop)
