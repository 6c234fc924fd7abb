"""`plait cosimulate` of a machine of the offload family: attention instead of linears."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from plait.cli.output import show_json, table
from plait.cli.progress import progress
from plait.errors import SpecError
from plait.sim.spec import Accelerator

if TYPE_CHECKING:
    from plait.sim.spec.base import Phase

_COLUMNS = ("shards", "values_compared", "values_different", "cycles_predicted", "cycles_measured")
_MORE = ("slowest_cycles", "orders", "orders_different", "split_difference", "float64_error")


def refuse(
    machine: Accelerator, phase: str, activation: list[str] | None, trace: Path | None
) -> None:
    """Refuse what attention has no use for, rather than leave it out in silence."""
    from plait.hwgen.generate import design_of

    design_of(machine, cast("Phase", phase))
    for option, value in (("--activation", activation), ("--trace", trace)):
        if value is not None:
            raise SpecError(
                "is not of a machine that computes attention",
                where=option,
                got=value[0] if isinstance(value, list) else str(value),
                expected="a machine that multiplies matrices",
            )


def cosimulate_offload(
    machine: Accelerator,
    layer: str | None,
    formats: list[str],
    tokens: int,
    stall: float,
    seed: int,
    json: bool,
) -> None:
    """Attention of a layer of SmolLM2 over 1, 2 and 3 devices; exit 1 if anything differs.

    Args:
        layer: such as layers.3.self_attn; layer 0 if none.
        formats: of the KV cache.
    """
    from plait.attention_cosimulation import cosimulate_attention_layer

    number = _layer(layer)
    runs = []
    with progress("building and running the Verilog") as work:
        for format in formats:
            for run in cosimulate_attention_layer(
                machine, layer=number, tokens=tokens, format=format, stall=stall, seed=seed
            ):
                work.say(f"{run.op}, {run.format}, {run.shards} devices: done")
                runs.append(run)
    if json:
        documents = [run.to_dict() for run in runs]
        for document in documents:
            del document["outputs"]
        show_json({"machine": machine.name, "runs": documents})
    else:
        names = ("op", "format", *_COLUMNS, *_MORE)
        rows = [[_shown(getattr(run, name)) for name in names] for run in runs]
        title = f"{machine.name}: {runs[0].query_heads} query heads, {tokens} tokens"
        table([name.replace("_", " ") for name in names], rows, title=title)
    if not all(run.agrees for run in runs):
        raise typer.Exit(1)


def _layer(name: str | None) -> int:
    if name is None:
        return 0
    parts = name.split(".")
    if len(parts) == 3 and parts[0] == "layers" and parts[1].isdigit() and parts[2] == "self_attn":
        return int(parts[1])
    raise SpecError(
        "the machine computes attention alone",
        where="--layer",
        got=name,
        expected="such as layers.0.self_attn",
    )


def _shown(value: object) -> object:
    return f"{value:.2g}" if isinstance(value, float) else value
