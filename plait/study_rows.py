"""The rows of the accuracy study: methods quantised and measured, in this process or in several.

Takes methods, gives their rows as they are finished. A process computes on one thread, so that
several fill the cores without pauses, and rows do not depend on how many there are. Next:
plait.study, which keeps the rows.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from plait import api
from plait.errors import PlaitError, SpecError
from plait.modules import bits_per_weight, quantised_layers
from plait.study_methods import GROUP, Method

if TYPE_CHECKING:
    import torch

    from plait.models.quantize.metrics import Comparison, Yardstick

__all__ = ["MACHINES", "TEXTS", "Effort", "measure"]

CALIBRATION_WINDOW = 256  # tokens
CONTEXT = 256  # tokens that the simulated token attends to
MACHINES = ("bitmod-lossy", "fp16-decoder", "int8-decoder", "flightllm-u280", "a6000")
TEXTS = ("novel", "regulations")
_MOST_PROCESSES = 4  # unless asked for more: each takes 4 to 6 GB of memory
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Announce = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: windows of each text, their tokens, windows of calibration."""

    windows: int = 8
    window: int = 256
    calibration_windows: int = 16

    @classmethod
    def quick(cls) -> Effort:
        """Enough to see an order of the methods, not their distances."""
        return cls(windows=2, calibration_windows=2)


def measure(
    model: str, effort: Effort, methods: list[Method], workers: int | None, announce: Announce
) -> Iterator[Row]:
    """Give the rows of methods as they are finished.

    Args:
        model: whatever `load_module` takes.
        effort: how much is measured.
        methods: those of one recipe are quantised once.
        workers: processes; 1 = this one, with all its threads; None = one a core, at most four.
        announce: called with a few words before each piece of work, or after it in processes.
    """
    count = min(os.cpu_count() or 1, _MOST_PROCESSES) if workers is None else workers
    if count < 1:
        raise SpecError("out of range", where="workers", got=count, expected="1 or more")
    recipes = [list(same) for _, same in groupby(methods, lambda method: method.recipe)]
    if min(count, len(recipes)) > 1:
        yield from _in_processes(model, effort, recipes, count, announce)
        return
    bench = _Bench(model, effort, announce)
    for same in recipes:
        yield from bench.rows(same)


class _Bench:
    """The dense model and what methods are measured with, each made when it is first needed."""

    def __init__(self, model: str, effort: Effort, announce: Announce) -> None:
        self.model, self.effort, self.announce = model, effort, announce

    @cached_property
    def module(self) -> torch.nn.Module:
        self.announce(f"loading {self.model}")
        return api.load_module(self.model)

    @cached_property
    def statistics(self) -> Mapping[str, Any]:
        """Of the inputs of each linear, on a text that nothing is measured on."""
        from plait.models.llm.texts import log_school_house
        from plait.models.quantize.calibrate import collect
        from plait.models.quantize.metrics import text_windows
        from plait.models.quantize.swap import quantizable

        module, count = self.module, self.effort.calibration_windows
        self.announce("calibrating")
        tokens = text_windows(module, log_school_house(), CALIBRATION_WINDOW, count)
        return collect(module, tokens, dict(quantizable(module)))

    @cached_property
    def yardsticks(self) -> dict[str, Yardstick]:
        from plait.models.llm.texts import botchan, drill_regulations
        from plait.models.quantize.metrics import Yardstick

        module, effort = self.module, self.effort
        self.announce("the dense model")
        texts = zip(TEXTS, (botchan(), drill_regulations()), strict=True)
        return {
            name: Yardstick(module, text, effort.window, effort.windows) for name, text in texts
        }

    def rows(self, same: list[Method]) -> Iterator[Row]:
        """Of methods of one recipe."""
        first, module = same[0], self.module
        if first.is_calibrated:
            _ = self.statistics  # not in the time of quantising
        self.announce(f"{first.name}: quantising")
        start = time.process_time()
        small = self._quantised(first)
        seconds = round(time.process_time() - start, 1)
        for method in same:
            row: Row = {
                "name": method.name,
                "format": method.format,
                "activations": method.activations or "fp32",
                "bits_per_weight": bits_per_weight(small),
                "quantising_cpu_s": seconds,
            }
            for name, yardstick in self.yardsticks.items():
                self.announce(f"{method.name}: {name}")
                with _activations(small, method.activations):
                    row |= _measures(name, yardstick.compare(small))
            self.announce(f"{method.name}: a token on {len(MACHINES)} machines")
            notes = {"notes": _notes(small), "weights_note": module.weights_note}
            yield row | _token(small) | {"remark": method.remark} | notes

    def _quantised(self, method: Method) -> torch.nn.Module:
        options = dict(method.options)
        if method.is_calibrated:
            options["inputs"] = self.statistics
        if method.method == "mixed":
            from plait.models.quantize.mixed_precision import quantize_mixed

            small: torch.nn.Module = quantize_mixed(self.module, 3.5, group_size=GROUP, **options)
            return small
        return api.quantize(self.module, method.format, method.group_size, method.method, **options)


_bench: _Bench | None = None  # of a worker process


def _prepare(model: str, effort: Effort) -> None:
    global _bench
    _bench = _Bench(model, effort, lambda _: None)


def _work(same: list[Method]) -> list[Row]:
    assert _bench is not None
    return list(_bench.rows(same))


def _in_processes(
    model: str, effort: Effort, recipes: list[list[Method]], count: int, announce: Announce
) -> Iterator[Row]:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    spawn = get_context("spawn")  # fork copies locks that the threads of numba and torch hold
    total, done = sum(map(len, recipes)), 0
    longest_first = sorted(recipes, key=lambda same: -same[0].cpu_minutes)
    pool = ProcessPoolExecutor(min(count, len(recipes)), spawn, _prepare, (model, effort))
    try:
        with _one_thread():  # processes are started as work is submitted
            futures = [pool.submit(_work, same) for same in longest_first]
        announce(f"{total} methods in {min(count, len(recipes))} processes")
        for future in as_completed(futures):
            for row in future.result():
                done += 1
                announce(f"{done} of {total} methods, the last {row['name']}")
                yield row
    except BrokenProcessPool:
        raise PlaitError(
            "a worker process was killed", where="study",
            hint="finished rows are kept: run the same again, perhaps with fewer workers",
        ) from None  # fmt: skip
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started in here compute on one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _activations(small: torch.nn.Module, kind: str) -> AbstractContextManager[None]:
    from plait.models.quantize.activations import int8_activations, llm_int8_activations

    kinds = {"int8": int8_activations, "llm-int8": llm_int8_activations}
    return kinds[kind](small) if kind else nullcontext()


def _measures(text: str, found: Comparison) -> dict[str, float | None]:
    return {
        f"perplexity_{text}": found.perplexity,
        f"perplexity_dense_{text}": found.perplexity_of_original,
        f"perplexity_log_error_{text}": found.perplexity_error,
        f"kl_nats_{text}": found.kl_divergence,
        f"kl_nats_error_{text}": found.kl_error,
        f"top1_agreement_{text}": found.top1_agreement,
        f"top1_agreement_error_{text}": found.top1_error,
    }


def _notes(small: torch.nn.Module) -> list[str]:
    """What methods did otherwise than asked, and in how many matrices."""
    counts = Counter(note for layer in quantised_layers(small).values() for note in layer.notes)
    return [f"{note} ({count} matrices)" for note, count in sorted(counts.items())]


def _token(small: torch.nn.Module) -> dict[str, Any]:
    """Time and energy of one decoded token; why not, where a machine cannot."""
    graph = api.export(small)
    found: dict[str, Any] = {}
    for machine in MACHINES:
        try:
            report = api.simulate(graph, machine, context=CONTEXT)
        except SpecError as refusal:
            found[f"refused_{machine}"] = str(refusal)
            continue
        found[f"token_us_{machine}"] = report.seconds * 1e6
        if report.energy_joules is not None:
            found[f"token_mj_{machine}"] = report.energy_joules * 1e3
    return found
