"""What the benches and their launchers share: drivers of streams, and the Verilator build."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

RTL = Path(__file__).resolve().parents[2] / "rtl"
SEEDS = (1, 7)  # a register without reset is only seen from some random initial states


# ---- Inside the simulator -----------------------------------------------------------------------


async def start(dut) -> None:
    """Run the clock and hold reset for four cycles; returns after a clock edge."""
    from cocotb.triggers import RisingEdge

    dut.rst_ni.value = 0  # before the first edge: assertions do not hold in a random state
    await start_clock(dut)
    for _ in range(4):
        await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 1


async def start_clock(dut) -> None:
    """Run the clock of a module without reset; returns after a clock edge."""
    from cocotb.clock import Clock
    from cocotb.triggers import RisingEdge

    Clock(dut.clk_i, 10, unit="ns").start()
    await RisingEdge(dut.clk_i)


async def send(dut, prefix: str, items: Iterable[int], pause: Iterator[bool]) -> None:
    """Offer items on the stream `prefix`, with pauses between them."""
    from cocotb.triggers import ReadOnly, RisingEdge

    valid, ready, data = (getattr(dut, f"{prefix}_{s}") for s in ("valid_i", "ready_o", "data_i"))
    for item in items:
        while next(pause):
            valid.value = 0
            await RisingEdge(dut.clk_i)
        valid.value = 1
        data.value = item
        while True:
            await ReadOnly()
            accepted = bool(ready.value)
            await RisingEdge(dut.clk_i)
            if accepted:
                break
    valid.value = 0


async def receive(
    dut, prefix: str, count: int, pause: Iterator[bool], cycles: list[int] | None = None
) -> list[int]:
    """Take items from the stream `prefix`; `cycles` gets the number of the cycle of each."""
    from cocotb.triggers import ReadOnly, RisingEdge

    valid, ready, data = (getattr(dut, f"{prefix}_{s}") for s in ("valid_o", "ready_i", "data_o"))
    items: list[int] = []
    cycle = 0
    while len(items) < count:
        ready.value = not next(pause)
        await ReadOnly()
        if valid.value and ready.value:
            items.append(data.value.to_unsigned())
            if cycles is not None:
                cycles.append(cycle)
        await RisingEdge(dut.clk_i)
        cycle += 1
    ready.value = 0
    return items


async def play(
    dut, inputs: Mapping[str, Sequence[int]], outputs: Sequence[str], extra: int = 0
) -> dict[str, list[int]]:
    """Drive one value a cycle on every input; give the outputs seen in each of these cycles.

    Inputs keep their last value for `extra` further cycles.
    """
    from cocotb.triggers import ReadOnly, RisingEdge

    length = max(len(values) for values in inputs.values())
    driven = [(getattr(dut, name), values) for name, values in inputs.items()]
    seen = [(getattr(dut, name), []) for name in outputs]
    for cycle in range(length + extra):
        for signal, values in driven:
            if cycle < len(values):
                signal.value = int(values[cycle])
        await ReadOnly()
        for signal, values in seen:
            values.append(signal.value)
        await RisingEdge(dut.clk_i)
    return {
        name: [int(value) for value in values]
        for name, (_, values) in zip(outputs, seen, strict=True)
    }


async def evaluate(
    dut, inputs: Mapping[str, Sequence[int]], outputs: Sequence[str]
) -> dict[str, list[int]]:
    """Give the outputs of a combinational module for every row of inputs."""
    from cocotb.triggers import Timer

    length = max(len(values) for values in inputs.values())
    seen: dict[str, list[int]] = {name: [] for name in outputs}
    for row in range(length):
        for name, values in inputs.items():
            getattr(dut, name).value = int(values[row])
        await Timer(1, unit="ns")
        for name in outputs:
            seen[name].append(int(getattr(dut, name).value))
    return seen


def never() -> Iterator[bool]:
    """No pauses."""
    while True:
        yield False


def sometimes(rate: float, seed: int) -> Iterator[bool]:
    """Pauses at random."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < rate


def pauses(rate: float, seed: int) -> Iterator[bool]:
    """`sometimes`, or `never` at rate 0."""
    return sometimes(rate, seed) if rate else never()


def packed(values: Iterable[int], width: int) -> int:
    """A packed array [n-1:0][width-1:0] as one number; element 0 is lowest, negatives wrap."""
    word, mask = 0, (1 << width) - 1
    for index, value in enumerate(values):
        word |= (int(value) & mask) << (index * width)
    return word


def unpacked(word: int, width: int, count: int, signed: bool = False) -> list[int]:
    """The elements of a packed array."""
    values = [(word >> (index * width)) & ((1 << width) - 1) for index in range(count)]
    return [as_signed(value, width) for value in values] if signed else values


def as_signed(value: int, width: int) -> int:
    """Two's complement of `width` bits as a number."""
    return value - (1 << width) if value >> (width - 1) else value


# ---- Outside the simulator ----------------------------------------------------------------------


def sources_of(top: str, file_list: str = "bit_serial.f", rtl: Path = RTL) -> list[Path]:
    """The files of a list up to the one of `top`: leaves come first in it."""
    lines = (rtl / file_list).read_text().splitlines()
    files = [line for line in lines if line.strip() and not line.startswith("//")]
    last = next(i for i, line in enumerate(files) if Path(line).stem == top)
    return [rtl / line for line in files[: last + 1]]


def build(
    top: str,
    build_root: Path,
    *,
    sources: Sequence[Path | str] | None = None,
    rtl: Path = RTL,
    options: Sequence[str] = (),
    **parameters: int,
) -> Callable[..., None]:
    """Build `top` with its parameters; give the function that runs a bench on it.

    Args:
        sources: files, or paths relative to rtl/; None takes them from the family's file list.
        rtl: the folder of the library, or of a copy.
        options: further arguments of Verilator.
    """
    from cocotb_tools.runner import get_runner

    from plait.hwgen.tools import verilator_environment

    os.environ.update(verilator_environment())
    # a design takes longer to optimise than a bench runs it; Verilator's library stays optimised
    os.environ["MAKEFLAGS"] += " OPT_FAST=-O0"
    os.environ["OBJCACHE"] = str(Path(__file__).with_name("object_cache.sh"))
    os.environ["PLAIT_OBJECTS"] = str(build_root.parent / "objects")
    files = sources_of(top, rtl=rtl) if sources is None else [rtl / source for source in sources]
    tag = "-".join([top, *(f"{name}{value}" for name, value in sorted(parameters.items()))])
    runner = get_runner("verilator")
    runner.build(
        sources=files,
        hdl_toplevel=top,
        parameters=parameters,
        includes=[rtl / "common"],
        build_dir=build_root / tag,
        build_args=[
            str(rtl / "lint" / "waivers.vlt"),
            *("-Wall", "--assert", "--timing"),
            *("--x-initial", "unique", "--x-assign", "unique"),
            # cocotb's runner makes all signals public; a bench sees those of its top alone
            *("--no-public-flat-rw", "--public-depth", "1"),
            *options,
        ],
        always=True,
        waves=bool(os.environ.get("WAVES")),
    )
    given = {f"PARAMETER_{name}": str(value) for name, value in parameters.items()}

    def run(
        bench: str,
        seeds: Sequence[int] = SEEDS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        _run(runner, top, bench, build_root / tag, seeds, {**given, **(environment or {})})

    return run


def _run(
    runner, top: str, bench: str, folder: Path, seeds: Sequence[int], environment: dict[str, str]
) -> None:
    from cocotb_tools.runner import get_results

    for seed in seeds:
        results = runner.test(
            hdl_toplevel=top,
            test_module=bench,
            build_dir=folder,
            test_dir=folder,
            plusargs=["+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
            extra_env=environment,
            waves=bool(os.environ.get("WAVES")),
        )
        ran, failed = get_results(results)
        assert ran, f"no cocotb test ran, see {results}"
        assert not failed, f"{failed} of {ran} cocotb tests failed with {seed=}, see {results}"


def simulate(
    top: str,
    bench: str,
    build_root: Path,
    *,
    sources: Sequence[Path | str] | None = None,
    rtl: Path = RTL,
    seeds: Sequence[int] = SEEDS,
    environment: Mapping[str, str] | None = None,
    **parameters: int,
) -> None:
    """Build `top` with its parameters and run a bench from each random initial state.

    Args:
        bench: module of cocotb tests.
        environment: handed to the bench, besides PARAMETER_<name> for each parameter.
    """
    run = build(top, build_root, sources=sources, rtl=rtl, **parameters)
    run(bench, seeds, environment)


def parameter(name: str, default: int) -> int:
    """A parameter of the build, as the bench sees it."""
    return int(os.environ.get(f"PARAMETER_{name}", default))
