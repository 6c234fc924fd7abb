"""The accuracy study: every method of quantising on one LLM, on two texts and five machines.

Takes a model with weights, gives a row a method: true bits a weight; perplexity, KL and top-1
agreement with the dense model on two texts; time and energy of a decoded token. Rows are kept in a
file as they are finished, so that a study goes on where it was stopped. Methods are calibrated with
a third text. Next: plait.study_page.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait import api
from plait.errors import SpecError, unknown_name
from plait.files import write_atomically
from plait.modules import bits_per_weight, quantised_layers

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from plait.models.quantize.metrics import Comparison, Yardstick

__all__ = ["METHODS", "Effort", "Method", "front", "run"]

GROUP = 64  # published groups of 128 do not divide the 576 inputs of SmolLM2's linears
CALIBRATION_WINDOW = 256  # tokens
CONTEXT = 256  # tokens that the simulated token attends to
MACHINES = ("bitmod-lossy", "fp16-decoder", "int8-decoder", "flightllm-u280", "a6000")
TEXTS = ("novel", "regulations")
FILE = "study.jsonl"
_GROUPED = f"published groups of 128 do not divide its inputs: {GROUP}"
_SMALL_BOOK = "smaller than published, to fit small matrices"


@dataclass(frozen=True, slots=True)
class Method:
    """One row: a name, and what `plait.quantize` is asked for.

    Attributes:
        activations: how the linears see their inputs: ``""`` as they are, ``int8`` or
            ``llm-int8``.
        is_slow: takes half an hour or more, so that it is run only when asked for by name.
    """

    name: str
    format: str
    method: str
    group_size: int | str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    is_calibrated: bool = False
    in_quick: bool = False
    activations: str = ""
    is_slow: bool = False
    remark: str = ""


METHODS = (
    Method("rtn int4", "int4", "rtn", GROUP, in_quick=True),
    Method("rtn int4-asym", "int4-asym", "rtn", GROUP),
    Method("gptq int4", "int4-asym", "gptq", GROUP, {}, True, True, remark=_GROUPED),
    Method("gptq int3", "int3-asym", "gptq", GROUP, {}, True, remark=_GROUPED),
    Method("awq int4", "int4-asym", "awq", GROUP, {}, True, remark=_GROUPED),
    Method(
        "llm.int8",
        "int8-outlier",
        "llm-int8",
        "channel",
        activations="llm-int8",
        remark="INT8 activations, outlier columns from 6.0 in FP16",
    ),
    Method("dgq int4", "int4-dual", "dgq", GROUP, {}, True, remark=_GROUPED),
    Method(
        "dgq int4, int8 activations",
        "int4-dual",
        "dgq",
        GROUP,
        {},
        True,
        activations="int8",
        remark="one scale a token; without the paper's smoothing",
    ),
    Method(
        "finequant int4",
        "int4",
        "finequant",
        remark="stand-in: the paper's rule for groups is not published",
    ),
    Method("edkm palette 4 bit", "palette4", "edkm", remark="no fine-tuning", in_quick=True),
    Method("edkm palette 3 bit", "palette3", "edkm", remark="no fine-tuning"),
    Method(
        "2/4/16-bit mix",
        "int2-int4",
        "two-bit-mix",
        is_calibrated=True,
        remark="the paper's rule for outliers is not published",
    ),
    Method(
        "vptq v6 k4096",
        "vptq-v6-k4096",
        "vptq",
        None,
        {"rounds": 10},
        True,
        is_slow=True,
        remark="as published: the codebook is as large as the codes",
    ),
    Method("vptq v4 k256", "vptq-v4-k256", "vptq", None, {"rounds": 10}, True, remark=_SMALL_BOOK),
    Method(
        "aqlm 2x8 g8",
        "aqlm-2x8-g8",
        "aqlm",
        None,
        {"sweeps": 1},
        True,
        is_slow=True,
        remark="one sweep",
    ),
    Method(
        "pv-tuning 2x8 g8",
        "aqlm-2x8-g8",
        "pv-tuning",
        None,
        {"sweeps": 1},
        True,
        is_slow=True,
        remark="layer loss; the paper tunes the whole model",
    ),
    Method("ternary", "ternary", "ternary", "tensor", remark="made for training, not for rounding"),
    Method("mxfp4", "mxfp4", "mx"),
    Method("nvfp4", "nvfp4", "nvfp4", in_quick=True),
    Method("bitmod4", "bitmod4", "rtn", GROUP, {"scale_bits": 8}, remark=_GROUPED),
    Method("bitmod3", "bitmod3", "rtn", GROUP, {"scale_bits": 8}, remark=_GROUPED),
    Method(
        "sparse 8:16 int8",
        "int8",
        "sparse",
        GROUP,
        {"kept": 8, "importance": "wanda"},
        True,
        remark="Wanda; perplexity flatters pruning: read agreement and KL",
    ),
    Method(
        "mixed 3.5 bit",
        "int2/3/4/8",
        "mixed",
        GROUP,
        {},
        True,
        remark="widths by output error",
    ),
)


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


Announce = Callable[[str], None]


def run(
    folder: str | Path,
    model: str = "smollm2-135m",
    effort: Effort | None = None,
    only: tuple[str, ...] = (),
    announce: Announce = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """Give the rows one by one, those of an earlier run first.

    Args:
        folder: where rows are kept; one of another model or effort is refused.
        model: whatever `load_module` takes.
        effort: how much is measured; None = all of it.
        only: names of ``METHODS``; empty = all but slow ones (in a quick effort the quick ones).
        announce: called with a few words before each piece of work.
    """
    from plait.models.quantize.metrics import Yardstick

    effort = effort or Effort()
    chosen = _chosen(only, effort)
    path = Path(folder) / FILE
    head = {"model": model} | asdict(effort)
    done = _read(path, head)
    shown = chosen if only else METHODS  # slow ones of an earlier run, too
    yield from (done[method.name] for method in shown if method.name in done)
    missing = [method for method in chosen if method.name not in done]
    if not missing:
        return
    announce(f"loading {model}")
    module = api.load_module(model)
    statistics = _statistics(module, effort, missing, announce)
    announce("the dense model")
    yardsticks = {
        name: Yardstick(module, text, effort.window, effort.windows)
        for name, text in _texts().items()
    }
    for place, method in enumerate(chosen, 1):
        if method.name in done:
            continue
        say = partial(_announce, announce, f"{place}/{len(chosen)} {method.name}")
        row = _row(module, method, yardsticks, statistics, say)
        done[method.name] = row
        _write(path, head, done)
        yield row


def front(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table, sorted by bits; ``on_front`` where no other has less of bits and KL."""
    import pandas as pd

    table = pd.DataFrame(rows)
    table["kl_nats"] = table[[f"kl_nats_{text}" for text in TEXTS]].mean(axis=1)
    table = table.sort_values(["bits_per_weight", "kl_nats"], kind="stable", ignore_index=True)
    least = table["kl_nats"].cummin().shift(fill_value=float("inf"))
    table["on_front"] = table["kl_nats"] < least
    return table


def _announce(announce: Announce, method: str, what: str) -> None:
    announce(f"{method}: {what}")


def _chosen(only: tuple[str, ...], effort: Effort) -> list[Method]:
    known = {method.name: method for method in METHODS}
    for name in only:
        if name not in known:
            raise SpecError(unknown_name("method of the study", name, known), where="--only")
    if only:
        return [known[name] for name in only]
    usual = [method for method in METHODS if not method.is_slow]
    return [method for method in usual if method.in_quick or effort != Effort.quick()]


def _texts() -> Mapping[str, str]:
    from plait.models.llm.texts import botchan, drill_regulations

    return dict(zip(TEXTS, (botchan(), drill_regulations()), strict=True))


def _statistics(
    module: torch.nn.Module, effort: Effort, methods: list[Method], announce: Announce
) -> Mapping[str, Any]:
    """Of the inputs of each linear, on a text that nothing is measured on."""
    from plait.models.llm.texts import log_school_house
    from plait.models.quantize.calibrate import collect
    from plait.models.quantize.metrics import text_windows
    from plait.models.quantize.swap import quantizable

    if not any(method.is_calibrated for method in methods):
        return {}
    announce("calibrating")
    count = effort.calibration_windows
    tokens = text_windows(module, log_school_house(), CALIBRATION_WINDOW, count)
    return collect(module, tokens, dict(quantizable(module)))


def _row(
    module: torch.nn.Module,
    method: Method,
    yardsticks: Mapping[str, Yardstick],
    statistics: Mapping[str, Any],
    announce: Announce,
) -> dict[str, Any]:
    announce("quantising")
    start = time.process_time()
    small = _quantised(module, method, statistics)
    row: dict[str, Any] = {
        "name": method.name,
        "format": method.format,
        "activations": method.activations or "fp32",
        "bits_per_weight": bits_per_weight(small),
        "quantising_cpu_s": round(time.process_time() - start, 1),
    }
    for name, yardstick in yardsticks.items():
        announce(name)
        with _activations(small, method.activations):
            row |= _measures(name, yardstick.compare(small))
    announce(f"a token on {len(MACHINES)} machines")
    told = {"remark": method.remark, "notes": _notes(small), "weights_note": module.weights_note}
    return row | _token(small) | told


def _quantised(
    module: torch.nn.Module, method: Method, statistics: Mapping[str, Any]
) -> torch.nn.Module:
    options = dict(method.options)
    if method.is_calibrated:
        options["inputs"] = statistics
    if method.method == "mixed":
        from plait.models.quantize.mixed_precision import quantize_mixed

        small: torch.nn.Module = quantize_mixed(module, 3.5, group_size=GROUP, **options)
        return small
    return api.quantize(module, method.format, method.group_size, method.method, **options)


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


def _read(path: Path, head: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        first, *rows = [json.loads(line) for line in path.read_text().splitlines()]
        done = {row["name"]: row for row in rows}
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise SpecError("not the rows of a study", where=str(path)) from None
    if first != head:
        raise SpecError(
            "rows of another study", where=str(path), got=first, expected=f"{head}, or a new folder"
        )
    return done


def _write(path: Path, head: dict[str, Any], done: Mapping[str, dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        lines = [json.dumps(part) for part in (head, *done.values())]
        Path(temporary).write_text("\n".join(lines) + "\n")
