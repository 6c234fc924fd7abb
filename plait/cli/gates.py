"""Commands about gates: generate, cosimulate, area."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from plait import api
from plait.cli import completion
from plait.cli.app import app
from plait.cli.options import Json, Machine
from plait.cli.output import line, show_json, table
from plait.cli.progress import progress
from plait.errors import SpecError

if TYPE_CHECKING:
    from plait.cosimulation import Cosimulation
    from plait.sim.spec.base import Phase

ArrayPhase = Annotated[
    str,
    typer.Option(
        help="Whose array: decode or prefill.",
        autocompletion=completion.one_of("decode", "prefill"),
    ),
]

_COUNTS = ("values_compared", "values_different", "cycles_predicted", "cycles_measured")


@app.command(rich_help_panel="Gates", epilog="Example: plait generate bitmod-small -o out")
def generate(
    machine: Machine,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write.")
    ],
    phase: ArrayPhase = "decode",
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A decode unit: it alone, no core; may be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """The Verilog of a machine, a program for it and a Makefile that runs both."""
    with progress(f"writing {output}"):
        manifest = api.generate(machine, output, phase=phase, units=unit or None)
    if json:
        show_json(manifest.to_json())
        return
    if unit:
        for kind, parameters in manifest.decode_units.items():
            table([kind, "value"], parameters.items())
        line(f"{output}: make -C {output} check-decode runs the units with Verilator")
        return
    table(["parameter", "value"], manifest.parameters.items())
    line(f"{output}: {len(manifest.sources)} sources for Verilator; make -C {output} runs them")
    if manifest.decode_units:
        names = ", ".join(manifest.decode_units)
        line(f"beside the core, not in it: {names}; make -C {output} check-decode runs them")


@app.command(
    rich_help_panel="Gates",
    epilog="Example: plait cosimulate bitmod-small --layer layers.0.self_attn.k_proj",
)
def cosimulate(
    machine: Machine,
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One linear of SmolLM2; all seven of layer 0 if none."),
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="F", help="Weight format, groups of 64; repeatable."),
    ] = None,
    activation: Annotated[
        list[str] | None, typer.Option(metavar="A", help="fp16 or int8; repeatable.")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Tokens of text; 16, or 1024 for attention."),
    ] = None,
    phase: ArrayPhase = "decode",
    stall: Annotated[float, typer.Option(metavar="P", help="Chance that the memory stalls.")] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the stalls.")] = 0,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Waveform (VCD) of one multiplication.")
    ] = None,
    json: Json = False,
) -> None:
    """Run generated Verilog on a real layer: all values equal? the cycles those predicted?

    Exit 1 if a value or a cycle differs. The first run of a machine builds its simulator.
    """
    from plait.cosimulation import cosimulate_layer, default_format

    described = api.load_accelerator(machine)
    if described.family == "offload":
        from plait.cli.attention import cosimulate_offload, refuse

        refuse(described, phase, activation, trace)
        cosimulate_offload(described, layer, format or ["int8"], tokens or 1024, stall, seed, json)
        return
    if trace and (layer is None or len(format or "1") > 1 or len(activation or "1") > 1):
        expected = "one --layer, --format and --activation"
        raise SpecError("a waveform is of one multiplication", where="--trace", expected=expected)
    runs = []
    with progress("building and running the Verilog") as work:
        for run in cosimulate_layer(
            machine,
            layer,
            formats=format or [default_format(machine)],
            activations=activation or ([] if described.family == "sparse_dsp" else ["fp16"]),
            tokens=tokens or 16,
            phase=cast("Phase", phase),
            stall=stall,
            seed=seed,
            trace=trace,
        ):
            work.say(f"{run.op}, {run.format}, {run.activation}: done")
            runs.append(run)
    totals = {count: sum(getattr(run, count) for run in runs) for count in _COUNTS}
    if json:
        show_json({"machine": runs[0].machine, **totals, "runs": [_document(run) for run in runs]})
    else:
        columns = ["linear", "format", "activation", "tokens", *_COUNTS]
        rows = [
            [r.op, r.format, r.activation, r.shape[0], *(getattr(r, c) for c in _COUNTS)]
            for r in runs
        ]
        table([column.replace("_", " ") for column in columns], rows, title=runs[0].machine)
    if not all(run.agrees for run in runs):
        raise typer.Exit(1)


def _document(run: Cosimulation) -> dict[str, Any]:
    """Everything but the outputs, which are as many as the model is wide."""
    document = run.to_dict()
    del document["outputs"]
    return document


@app.command(rich_help_panel="Gates", epilog="Example: plait waveform bitmod-small -o tiles.svg")
def waveform(
    machine: Machine,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The picture (SVG) to write.")
    ],
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the waveform (VCD), too.")
    ] = None,
    json: Json = False,
) -> None:
    """Two tiles on a machine's Verilog, cycle by cycle, drawn from its waveform."""
    from plait.waveform import two_tiles

    with progress("building and running the Verilog"):
        picture = two_tiles(machine, output, trace)
    if json:
        show_json({"cycles": picture.cycles_by_cause})
        return
    table(["counted as", "cycles"], [item for item in picture.cycles_by_cause.items() if item[1]])
    line(f"{output}: {picture.cycles} cycles")


@app.command(rich_help_panel="Gates", epilog="Example: plait disassemble out/program.mem")
def disassemble(
    program: Annotated[Path, typer.Argument(metavar="FILE", help="program.mem of plait generate.")],
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="List a program that would not run to its end, too.")
    ] = False,
    json: Json = False,
) -> None:
    """What the instructions, or descriptors, of a generated program say.

    Instructions of a sparse DSP machine that would wait for ever, leave a token over or reach
    beyond memory and buffers are refused, each by its number.
    """
    from plait.hwgen.listing import listing

    text = listing(program, is_checked=not unchecked)
    if json:
        show_json({"program": str(program), "lines": text.splitlines()})
        return
    for one in text.splitlines():
        line(one)


@app.command(rich_help_panel="Gates", epilog="Example: plait area bitmod-small")
def area(
    machine: Machine,
    phase: ArrayPhase = "decode",
    device: Annotated[
        str | None,
        typer.Option(metavar="D", help="An FPGA: xcup or ecp5; gates if none and bit-serial."),
    ] = None,
    module: Annotated[
        str,
        typer.Option(metavar="NAME", help="One module on the FPGA; all of the machine if none."),
    ] = "",
    route: Annotated[
        bool, typer.Option("--route", help="Place and route it, for a clock; ECP5 alone.")
    ] = False,
    json: Json = False,
) -> None:
    """The array's parts in gate equivalents (2-input NANDs), by yosys, beside PEs of other papers.

    The PEs compared have equal function: FP16 activations, an accumulator of 15 bits. On an FPGA:
    DSP blocks, LUTs, flip-flops and block RAMs of every module; a whole machine takes tens of
    minutes the first time.
    """
    described = api.load_accelerator(machine)
    if device or module or route or described.family != "bit_serial":
        from plait.cli.fpga import show_resources

        chosen = device or ("ecp5" if route else "xcup")
        show_resources(described, chosen, module, route, phase, json)
        return
    with progress("mapping to gates"):
        parts = api.area(machine, phase=phase)
    if json:
        names = ("total_ge", "published_over_fp16")
        whole = [asdict(part) | {name: getattr(part, name) for name in names} for part in parts]
        known = [{k: v for k, v in part.items() if v is not None} for part in whole]
        show_json({"parts": known})
        return
    columns = ["part", "count", "logic GE", "register GE", "all GE"]
    rows = [[p.name, p.count, p.logic_ge, p.register_ge, p.total_ge] for p in parts if p.count]
    table(columns, rows)
    columns = ["PE of equal function", "logic GE", "register GE", "over FP16"]
    columns += ["published logic um2", "with registers um2", "over FP16"]
    rows = [
        [p.name, p.logic_ge, p.register_ge, p.over_fp16]
        + [value or "" for value in (p.published_logic_um2, p.published_um2)]
        + [p.published_over_fp16]
        for p in parts
        if not p.count
    ]
    table(columns, rows)
