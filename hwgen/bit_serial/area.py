"""Area of a bit-serial machine's array: its parts mapped to gates, beside the published PEs.

The one rule of comparison: PEs of equal function. All of them align, add and accumulate by the same
modules, with FP16 activations alone and an accumulator of 15 bits; only the product differs. Each
has the lanes its paper gives it: the bit-serial PE four, which take two products a cycle in formats
of two terms, the others one lane and one product. How a module becomes gates is the rule of
plait.hwgen.synth.
"""

from __future__ import annotations

from dataclasses import dataclass

from plait.hwgen.design import Design
from plait.hwgen.synth import Synthesis, synthesise
from plait.hwgen.verilog import LIBRARY, compile_order

__all__ = ["Part", "area"]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of part of the array, or a PE that it is compared with.

    Args:
        name: what it is.
        count: how many the array has; 0 for a comparison.
        logic_ge, register_ge: gate equivalents of one (2-input NANDs).
        over_fp16: both together, over those of the FP16 multiply-add; of comparisons.
        published_logic_um2, published_um2: area in 28 nm without and with registers as BitMoD
            (HPCA 2025, arXiv 2411.11745) gives it; of ANT and OliVe the one figure of its
            simulator. None where it gives none.
    """

    name: str
    count: int
    logic_ge: float
    register_ge: float
    over_fp16: float | None = None
    published_logic_um2: float | None = None
    published_um2: float | None = None

    @property
    def total_ge(self) -> float:
        """Gate equivalents of all of them; of one, for a comparison."""
        return round(max(self.count, 1) * (self.logic_ge + self.register_ge), 2)

    @property
    def published_over_fp16(self) -> float | None:
        """The published area over that of the FP16 multiply-add."""
        return None if self.published_um2 is None else round(self.published_um2 / _FP16_UM2, 3)


_FP16_UM2 = 1968.7
# Name, module, parameters, published area without and with registers; the FP16 one comes first.
_COMPARED = (
    ("FP16 multiply-add", "plait_fp16_mac", {"Lanes": 1}, 1733.5, _FP16_UM2),
    ("ANT PE", "plait_ant_pe", {"Lanes": 1}, None, 1318.6),
    ("OliVe PE", "plait_olive_pe", {"Lanes": 1}, None, 1318.6),
    (
        "BitMoD PE, 4 lanes",
        "plait_bs_pe",
        {"Lanes": 4, "GuardBits": 3, "Integer": 0},
        1221.6,
        1793.7,
    ),
)
_COMPARED_ACCUMULATOR = {"AccumulatorBits": 15}


def area(design: Design) -> list[Part]:
    """Map the parts of a design's array; the first time takes a minute, then the cache answers."""
    return [*_parts(design), *_comparisons()]


def _parts(design: Design) -> list[Part]:
    parameters = design.parameters
    rows, columns = parameters["Rows"], parameters["Columns"]
    pe = {name: parameters[name] for name in ("Lanes", "AccumulatorBits", "GuardBits")}
    dequantiser = {
        name: parameters[name] for name in ("AccumulatorBits", "OutputAccumulatorBits", "ScaleBits")
    }
    lanes = {"Lanes": parameters["Lanes"]}
    sources = [name for name in design.sources if name.startswith("rtl/") and name.endswith(".sv")]
    found = []
    for name, top, values, count in (
        ("PE", "plait_bs_pe", pe, rows * columns),
        ("dequantiser", "plait_bs_dequant", dequantiser, rows * columns),
        ("term decoder", "plait_bs_term_decoder", lanes, rows),
        ("activation splitter", "plait_bs_activation", lanes, columns),
    ):
        result = synthesise(design.files, sources, top, values, design.include_folders)
        found.append(Part(name, count, result.logic, result.registers))
    return found


def _comparisons() -> list[Part]:
    """PEs of equal function, with the library's own package of formats."""
    lists = ("bit_serial.f", "bit_serial_compare.f")
    sources = list(dict.fromkeys(path for name in lists for path in compile_order(LIBRARY / name)))
    headers = [f"common/{path.name}" for path in (LIBRARY / "common").glob("*.svh")]
    files = {name: (LIBRARY / name).read_text() for name in sorted({*sources, *headers})}

    def gates(top: str, values: dict[str, int]) -> Synthesis:
        return synthesise(files, sources, top, values | _COMPARED_ACCUMULATOR, ["common"])

    results = [gates(top, values) for _, top, values, *_ in _COMPARED]
    fp16 = results[0].logic + results[0].registers
    return [
        Part(
            name,
            0,
            result.logic,
            result.registers,
            over_fp16=round((result.logic + result.registers) / fp16, 3),
            published_logic_um2=logic_um2,
            published_um2=um2,
        )
        for (name, _, _, logic_um2, um2), result in zip(_COMPARED, results, strict=True)
    ]
