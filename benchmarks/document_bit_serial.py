"""Measure the tables of docs/families/bit_serial.md: errors of group sums, perplexity, area.

    python benchmarks/document_bit_serial.py errors|perplexity|area [--write FILE]

Without --write the table is only printed. Perplexity is of SmolLM2-135M on the text it comes with,
groups of 64, second-level scales: of the format (FP32 arithmetic), then of the hardware; it takes
half an hour on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from plait.files import write_atomically

WIDTHS = (15, 24, 32)
FORMATS = ("bitmod3", "bitmod4", "int6", "int8")
GROUPS, GROUP = 1000, 128
SPECIAL = 2  # selector of the grid with the larger positive special value


def error_rows() -> Iterator[list[str]]:
    """Relative root mean square error of the sums of groups, for each accumulator."""
    yield ["weights", *(f"accumulator of {bits} bits" for bits in WIDTHS)]
    for name in FORMATS:
        yield [name, *(f"{group_error(name, bits):.1e}" for bits in WIDTHS)]


def group_error(name: str, accumulator_bits: int) -> float:
    """Of one format, against exact sums of the same weights and activations."""
    from plait.models import formats
    from plait.models.golden.bit_serial import FP16_UNIT_EXPONENT, group_sum

    rng, fmt, guard_bits = np.random.default_rng(0), formats.get(name), 3
    selector = SPECIAL if fmt.selectors > SPECIAL else 0
    weights = rng.standard_normal((GROUPS, GROUP))
    scale = np.abs(weights).max(axis=1, keepdims=True) / np.abs(fmt.grid(selector)).max()
    codes = fmt.encode(weights / scale, selector)
    activations = rng.standard_normal((GROUPS, GROUP)).astype(np.float16)
    exact = (fmt.decode(codes, selector).astype(float) * activations.astype(float)).sum(axis=1)
    sums = []
    for first in range(0, GROUPS, 50):  # of each product [outputs, tokens] the diagonal
        part = slice(first, first + 50)
        mantissa, exponent = group_sum(
            activations[part],
            codes[part],
            np.full(50, selector),
            fmt.terms(),
            lanes=4,
            guard_bits=guard_bits,
            accumulator_bits=accumulator_bits,
        )
        unit = exponent - FP16_UNIT_EXPONENT - guard_bits
        sums.append(np.ldexp(mantissa.astype(float), unit).diagonal())
    difference = np.concatenate(sums) - exact
    return float(np.sqrt(np.mean(difference**2) / np.mean(exact**2)))


def perplexity_rows(window: int, windows: int) -> Iterator[list[str]]:
    """The format's own perplexity beside that of the hardware's arithmetic."""
    from plait.models.golden.execute import on_hardware
    from plait.models.llm.texts import botchan
    from plait.models.llm.weights import load_module
    from plait.models.quantize.metrics import perplexity
    from plait.models.quantize.swap import quantize_module

    module, text = load_module("smollm2-135m"), botchan()
    count = f"{windows} window{'s' if windows > 1 else ''} of {window} tokens"
    own = f"FP32 arithmetic, {count}"
    yield ["weights", own, *(f"FP16, {bits} bits" for bits in WIDTHS), "INT8 activations"]
    yield ["as stored", f"{perplexity(module, text, window, windows):.3f}", *[""] * 4]
    for name in FORMATS:
        small = quantize_module(module, name, group_size=64, scale_bits=8)
        chips = [on_hardware(small, accumulator_bits=bits) for bits in WIDTHS]
        models = [small, *chips, on_hardware(small, "int8")]
        yield [name, *(f"{perplexity(model, text, window, windows):.3f}" for model in models)]


def area_rows() -> Iterator[list[str]]:
    """The PEs of equal function beside what was published of them."""
    from plait.api import area

    published = ("published um2, without registers", "with registers", "over FP16")
    yield ["PE", "logic GE", "register GE", "over FP16", *published]
    for part in area("bitmod-small"):
        if part.published_um2:
            yield [
                part.name,
                f"{part.logic_ge:.0f}",
                f"{part.register_ge:.0f}",
                f"{part.over_fp16:.2f}",
                str(part.published_logic_um2 or ""),
                str(part.published_um2),
                f"{part.published_over_fp16:.2f}",
            ]


def publish(rows: Iterable[list[str]], name: str, path: Path | None) -> None:
    """Print a table row by row, as it comes, its head first; write it to a file if one is given."""
    lines: list[str] = []
    for row in rows:
        lines.append("| " + " | ".join(row) + " |")
        if len(lines) == 1:
            lines.append("|" + "---|" * len(row))
        print(lines[-1] if len(lines) > 2 else "\n".join(lines), flush=True)
    if path:
        _write(path, name, "\n".join(lines) + "\n")


def _write(path: Path, name: str, table: str) -> None:
    """Replace what stands between the markers of a table."""
    before, begins, rest = path.read_text().partition(f"<!-- {name}: ")
    marker, _, rest = rest.partition("-->\n")
    _, ends, after = rest.partition(f"<!-- end of {name} -->")
    if not begins or not ends:
        sys.exit(f"{path}: no place for the table {name}")
    with write_atomically(path) as temporary:
        temporary.write_text(f"{before}{begins}{marker}-->\n{table}{ends}{after}")


def main() -> None:
    """Parse the command line; print or write one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("errors", "perplexity", "area"))
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--window", type=int, default=128)
    parser.add_argument("--windows", type=int, default=1)
    options = parser.parse_args()
    rows = {
        "errors": error_rows,
        "perplexity": lambda: perplexity_rows(options.window, options.windows),
        "area": area_rows,
    }[options.table]()
    publish(rows, options.table, options.write)


if __name__ == "__main__":
    main()
