"""Schema of decode units: what stands between the memory and the array for compressed weights.

Every family's description takes them under ``decode_units``; a kind that is absent is a unit that
the machine lacks. Which unit a storage format needs is a property of the format
(`plait.models.formats.Format.decode_unit`); what decoding costs is one function for all families
(`plait.sim.families.decode_units`). Energies and areas are a machine's own figures: what is not
stated is not counted, but for the memory of codebooks, whose figures come from the CACTI tables.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from plait.sim.spec.section import Integer, Number, Section

__all__ = [
    "Codebook",
    "DecodeUnits",
    "Expander",
    "LookupTable",
    "OutlierPath",
    "TritTree",
]


class LookupTable(Section):
    """Index -> value of a palette that each tensor brings along (eDKM)."""

    entries: Integer = Field(ge=2, le=1 << 16, description="Values that a table holds")
    value_bits: Integer = Field(16, ge=2, le=32, description="Bits of a value: 16 is FP16")
    weights_per_cycle: Integer = Field(ge=1, le=1 << 16, description="Weights read a cycle")
    energy_pj_per_weight: Number | None = Field(None, gt=0, le=1e6, description="Of one read, pJ")
    area_um2: Number | None = Field(
        None, gt=0, le=1e12, description="All copies of the table together, square micrometres"
    )


class Codebook(Section):
    """Index -> vector of a codebook that each tensor brings along (VPTQ, AQLM)."""

    kibibytes: Integer = Field(ge=1, le=1 << 16, description="Capacity of all banks together, KiB")
    banks: Integer = Field(ge=1, le=1024, description="Banks; each gives a vector a cycle")
    vector_length: Integer = Field(ge=1, le=64, description="Values of the widest vector read")
    value_bits: Integer = Field(16, ge=2, le=32, description="Bits of a value: 16 is FP16")
    lookups_per_cycle: Integer = Field(
        ge=1, le=1024, description="Indices offered a cycle; those of one bank wait for each other"
    )
    energy_pj_per_lookup: Number | None = Field(
        None, gt=0, le=1e6, description="Of one vector read, pJ; default: CACTI 7 at 28 nm"
    )
    area_um2: Number | None = Field(
        None, gt=0, le=1e12, description="All banks, square micrometres; default: CACTI 7 at 28 nm"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.banks & (self.banks - 1):
            raise ValueError(f"banks {self.banks} is no power of two: low index bits choose a bank")
        return self


class Expander(Section):
    """(code - zero) * scale -> INT8 in front of an array of INT8 (DGQ)."""

    weights_per_cycle: Integer = Field(ge=1, le=1 << 16, description="Weights expanded a cycle")
    energy_pj_per_weight: Number | None = Field(
        None, gt=0, le=1e6, description="Of a subtraction and a product, pJ"
    )
    area_um2: Number | None = Field(None, gt=0, le=1e12, description="Square micrometres")


class OutlierPath(Section):
    """FP16 products beside the array for what does not fit its codes (LLM.int8(), 2/4-bit mix)."""

    values_per_cycle: Integer = Field(ge=1, le=1 << 16, description="FP16 multiply-adds a cycle")
    index_bits: Integer = Field(16, ge=1, le=32, description="Of the column of an outlier")
    energy_pj_per_value: Number | None = Field(
        None, gt=0, le=1e6, description="Of a multiply-add and its gather, pJ"
    )
    area_um2: Number | None = Field(None, gt=0, le=1e12, description="Square micrometres")


class TritTree(Section):
    """Adder trees of weights -1, 0, +1 and INT8 activations: no multiplier (MatMul-free)."""

    trees: Integer = Field(1, ge=1, le=1 << 16, description="Trees: outputs computed at once")
    inputs: Integer = Field(ge=2, le=1 << 12, description="Products that a tree adds a cycle")
    accumulator_bits: Integer = Field(
        ge=9, le=64, description="Of the sum, sign included; 8 + log2 of the inputs of a matrix"
    )
    energy_pj_per_trit: Number | None = Field(
        None, gt=0, le=1e6, description="Of one addition or of what is skipped, in the mean, pJ"
    )
    area_um2: Number | None = Field(
        None, gt=0, le=1e12, description="All trees together, square micrometres"
    )


class DecodeUnits(Section):
    """The decode units of a machine; what is absent, it lacks."""

    lookup_table: LookupTable | None = Field(None, description="Palettes")
    codebook: Codebook | None = Field(None, description="Codebooks of vectors")
    expander: Expander | None = Field(None, description="INT4 to INT8")
    outlier_path: OutlierPath | None = Field(None, description="FP16 values beside the array")
    trit_tree: TritTree | None = Field(None, description="Ternary weights without multipliers")
