"""Area of a bit-serial machine's array: its parts mapped to gates, beside the published PE."""

from __future__ import annotations

from dataclasses import dataclass

from plait.hwgen.design import Design
from plait.hwgen.synth import synthesise

__all__ = ["Part", "area"]

_PUBLISHED = {"Lanes": 4, "AccumulatorBits": 15, "GuardBits": 3, "Integer": 0}


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of part of the array.

    Args:
        name: what it is.
        count: how many the array has.
        logic_ge, register_ge: gate equivalents of one (2-input NANDs), by the rule of
            plait.hwgen.synth.
        published_um2: area of one in 28 nm as BitMoD (HPCA 2025) gives it for accumulators of 15
            bits and FP16 activations alone: 1221.6 without registers, 1793.7 with; None where it
            gives none.
    """

    name: str
    count: int
    logic_ge: float
    register_ge: float
    published_um2: float | None = None

    @property
    def total_ge(self) -> float:
        """Gate equivalents of all of them."""
        return round(self.count * (self.logic_ge + self.register_ge), 2)


def area(design: Design) -> list[Part]:
    """Map the parts of a design's array; the first time takes a minute, then the cache answers."""
    parameters = design.parameters
    rows, columns = parameters["Rows"], parameters["Columns"]
    pe = {name: parameters[name] for name in ("Lanes", "AccumulatorBits", "GuardBits")}
    dequantiser = {
        name: parameters[name] for name in ("AccumulatorBits", "OutputAccumulatorBits", "ScaleBits")
    }
    lanes = {"Lanes": parameters["Lanes"]}
    parts = (
        ("PE as published: 15 bits, FP16", "plait_bs_pe", _PUBLISHED, 0, 1793.7),
        ("PE", "plait_bs_pe", pe, rows * columns, None),
        ("dequantiser", "plait_bs_dequant", dequantiser, rows * columns, None),
        ("term decoder", "plait_bs_term_decoder", lanes, rows, None),
        ("activation splitter", "plait_bs_activation", lanes, columns, None),
    )
    sources = [name for name in design.sources if name.startswith("rtl/") and name.endswith(".sv")]
    found = []
    for name, top, values, count, published in parts:
        result = synthesise(design.files, sources, top, values, design.include_folders)
        found.append(Part(name, count, result.logic, result.registers, published))
    return found
