"""The accuracy study: every method of quantising on one LLM, by four measures and two machines.

Takes a model with weights, gives a row a method: true bits a weight; perplexity, KL and top-1
agreement with the dense model on two texts; agreement of greedy continuations; time and energy of a
decoded token. Rows are kept in a file as they are finished, so that a study goes on where it was
stopped. Calibration reads other passages than the tests do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait import api
from plait.errors import SpecError, unknown_name
from plait.files import write_atomically
from plait.modules import bits_per_weight

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["METHODS", "Effort", "Method", "front", "run"]

GROUP = 64  # divides the 576 and 1536 inputs of SmolLM2's linears
CONTEXT = 256  # tokens that the simulated token attends to
MACHINES = ("bitmod-lossy", "a6000", "a100-80g")
FILE = "study.jsonl"


@dataclass(frozen=True, slots=True)
class Method:
    """One row: a name, and what `plait.quantize` is asked for."""

    name: str
    format: str
    method: str
    group_size: int | str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    is_calibrated: bool = False
    in_quick: bool = False
    remark: str = ""


METHODS = (
    Method("rtn int4", "int4", "rtn", GROUP, in_quick=True),
    Method("rtn int4-asym", "int4-asym", "rtn", GROUP),
    Method("gptq int4", "int4-asym", "gptq", GROUP, is_calibrated=True, in_quick=True),
    Method("gptq int3", "int3-asym", "gptq", GROUP, is_calibrated=True),
    Method("awq int4", "int4-asym", "awq", GROUP, is_calibrated=True),
    Method("llm.int8", "int8", "llm-int8", "channel", remark="weights only; activations stay FP32"),
    Method("dgq", "int4-dual", "dgq", GROUP, is_calibrated=True),
    Method(
        "finequant int4",
        "int4",
        "finequant",
        remark="stand-in: the paper's rule for groups is not published",
    ),
    Method("palette 4 bit (edkm)", "palette4", "edkm", remark="no fine-tuning", in_quick=True),
    Method("palette 3 bit (edkm)", "palette3", "edkm", remark="no fine-tuning"),
    Method("2/4/16-bit mix", "int2-int4", "two-bit-mix", is_calibrated=True),
    Method("vptq v4 k256", "vptq-v4-k256", "vptq", None, {"rounds": 10}, is_calibrated=True),
    Method("aqlm 2x8 g8", "aqlm-2x8-g8", "aqlm", None, {"sweeps": 1}, is_calibrated=True),
    Method(
        "pv-tuning 2x8 g8",
        "aqlm-2x8-g8",
        "pv-tuning",
        None,
        {"sweeps": 1},
        is_calibrated=True,
        remark="layer loss; the paper tunes the whole model",
    ),
    Method("ternary", "ternary", "ternary", GROUP, remark="made for training, not for rounding"),
    Method("mxfp4", "mxfp4", "mx"),
    Method("nvfp4", "nvfp4", "nvfp4", in_quick=True),
    Method("bitmod4", "bitmod4", "rtn", GROUP),
    Method(
        "sparse 8:16 int8",
        "int8",
        "sparse",
        GROUP,
        {"kept": 8, "importance": "wanda"},
        is_calibrated=True,
        remark="Wanda; perplexity flatters pruning: read agreement and KL",
    ),
    Method(
        "mixed 3.5 bit",
        "int2/3/4/8",
        "mixed",
        GROUP,
        is_calibrated=True,
        remark="widths by output error",
    ),
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: windows of each text, their tokens, windows of calibration."""

    windows: int = 8
    window: int = 512
    calibration_windows: int = 8
    prompts: int = 8

    @classmethod
    def quick(cls) -> Effort:
        """Enough to see an order of the methods, not their distances."""
        return cls(windows=2, window=256, calibration_windows=2, prompts=2)


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
        only: names of ``METHODS``; empty = all (in a quick effort the quick ones).
        announce: called with a few words before each piece of work.
    """
    effort = effort or Effort()
    chosen = _chosen(only, effort)
    path = Path(folder) / FILE
    head = {"model": model} | asdict(effort)
    done = _read(path, head)
    yield from (done[method.name] for method in chosen if method.name in done)
    missing = [method for method in chosen if method.name not in done]
    if not missing:
        return
    announce(f"loading {model}")
    module = api.load_module(model)
    texts, calibration = _texts(module, effort)
    statistics = _statistics(module, calibration, missing, announce)
    for method in missing:
        announce(f"{method.name}: quantising")
        row = _row(module, method, texts, statistics, effort, announce)
        done[method.name] = row
        _write(path, head, done)
        yield row


def front(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table, sorted by bits; ``on_front`` where no other has less of bits and KL."""
    import pandas as pd

    table = pd.DataFrame(rows).sort_values("bits_per_weight", kind="stable")
    divergence = table.filter(like="kl_").mean(axis=1)
    table["on_front"] = divergence <= divergence.cummin()
    return table.reset_index(drop=True)


def _chosen(only: tuple[str, ...], effort: Effort) -> list[Method]:
    known = {method.name: method for method in METHODS}
    for name in only:
        if name not in known:
            raise SpecError(unknown_name("method of the study", name, known), where="--only")
    if only:
        return [known[name] for name in only]
    return [method for method in METHODS if method.in_quick or effort != Effort.quick()]


def _texts(module: torch.nn.Module, effort: Effort) -> tuple[dict[str, str], torch.Tensor]:
    """Two test texts, and calibration tokens from other passages.

    A novel, and the reference of Python that every Python installation carries (its wording changes
    with the version): topics in alphabetical order, calibration from the front, tests from behind.
    """
    import pydoc_data.topics

    import torch

    from plait.models.llm.texts import botchan

    topics = pydoc_data.topics.topics
    reference = "\n".join(topics[name] for name in sorted(topics))
    half = len(reference) // 2
    tokenizer: Any = module.tokenizer
    tokens = tokenizer.encode(reference[:half], add_special_tokens=False)
    count = effort.calibration_windows * CONTEXT
    ids = torch.tensor(getattr(tokens, "ids", tokens)[:count])
    texts = {"novel": botchan(), "python_reference": reference[half:]}
    return texts, ids.view(effort.calibration_windows, CONTEXT)


def _statistics(
    module: torch.nn.Module, tokens: torch.Tensor, methods: list[Method], announce: Announce
) -> Mapping[str, Any]:
    from plait.models.quantize import collect
    from plait.models.quantize.swap import quantizable

    if not any(method.is_calibrated for method in methods):
        return {}
    announce("calibrating")
    return collect(module, tokens, dict(quantizable(module)))


def _row(
    module: torch.nn.Module,
    method: Method,
    texts: Mapping[str, str],
    statistics: Mapping[str, Any],
    effort: Effort,
    announce: Announce,
) -> dict[str, Any]:
    from plait.models.quantize import compare, greedy_agreement, quantize_mixed

    start = time.process_time()
    options = dict(method.options)
    if method.is_calibrated:
        options["inputs"] = statistics
    if method.method == "mixed":
        small = quantize_mixed(module, 3.5, group_size=GROUP, **options)
    else:
        small = api.quantize(module, method.format, method.group_size, method.method, **options)
    row: dict[str, Any] = {
        "name": method.name,
        "format": method.format,
        "bits_per_weight": bits_per_weight(small),
        "quantising_cpu_s": round(time.process_time() - start, 1),
    }
    for name, text in texts.items():
        announce(f"{method.name}: {name}")
        found = compare(module, small, text, effort.window, effort.windows)
        row |= {
            f"perplexity_{name}": found.perplexity,
            f"perplexity_dense_{name}": found.perplexity_of_original,
            f"kl_nats_{name}": found.kl_divergence,
            f"top1_agreement_{name}": found.top1_agreement,
        }
    row["greedy_agreement"] = greedy_agreement(module, small, texts["novel"], effort.prompts)
    announce(f"{method.name}: a token on {len(MACHINES)} machines")
    return row | _token(small) | {"remark": method.remark}


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
