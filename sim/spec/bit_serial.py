"""Schema of the bit-serial family: an array of dot-product PEs, its buffers and its memory port.

The machine of BitMoD (HPCA 2025, arXiv 2411.11745) and the three it is compared with. Rows are
output channels, columns are tokens. Field names are the parameters of the Verilog in camel case
(``pe.accumulator_bits`` -> ``AccumulatorBits``).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from plait.sim.spec.base import Accelerator, Integer, Number, Phase, Section

__all__ = ["Array", "Arrays", "BitSerial", "Buffers", "Dram", "Pe", "Technology", "VectorUnit"]


class Array(Section):
    """The shape of the PE array."""

    rows: Integer = Field(ge=1, le=4096, description="PE rows: output channels computed at once")
    columns: Integer = Field(ge=1, le=4096, description="PE columns: tokens computed at once")


class Arrays(Section):
    """The same PEs are wired differently for the two phases."""

    decode: Array = Field(description="Shape in decode")
    prefill: Array = Field(description="Shape in prefill")

    def at(self, phase: Phase) -> Array:
        """Give the shape for a phase."""
        return self.decode if phase == "decode" else self.prefill


class Pe(Section):
    """One processing element: a dot product of `lanes` weights with `lanes` activations."""

    kind: Literal["bit_serial", "fp16", "ant", "olive"] = Field(
        description="bit_serial takes a weight as signed power-of-two terms, one a cycle; "
        "the others take a whole weight a cycle"
    )
    lanes: Integer = Field(ge=1, le=64, description="Width of the dot product")
    activation: Literal["fp16", "int8"] = Field("fp16", description="Kind of activations")
    max_terms: Integer = Field(4, ge=1, le=8, description="Most terms of a weight (int8: 4)")
    guard_bits: Integer = Field(
        3, ge=0, le=32, description="Mantissa bits kept below the last place while aligning"
    )
    accumulator_bits: Integer = Field(
        15, ge=2, le=64, description="Signed mantissa of the group accumulator"
    )
    output_accumulator_bits: Integer = Field(
        32, ge=2, le=64, description="Signed mantissa of the output accumulator"
    )
    scale_bits: Integer = Field(
        8, ge=1, le=16, description="Bits of a group's integer scale, one a cycle when multiplied"
    )
    energy_pj: Number = Field(
        gt=0, le=1e6, description="Energy of one busy cycle before layout, pJ"
    )
    area_um2: Number = Field(gt=0, le=1e9, description="Area of one PE, square micrometres")


class Buffers(Section):
    """On-chip memories between the port and the array."""

    weight_bytes: Integer = Field(ge=64, le=1 << 30, description="Weight buffer, both halves")
    activation_bytes: Integer = Field(ge=64, le=1 << 30, description="Activation buffer")
    scale_bytes: Integer = Field(
        16384, ge=16, le=1 << 30, description="Buffer of group scales and selectors"
    )
    banks: Integer = Field(
        8, ge=1, le=1024, description="Banks of a buffer; a read takes a word from each"
    )
    write_port_bits: Integer = Field(
        64, ge=1, le=8192, description="Bits written into one bank at once"
    )


class Dram(Section):
    """The one memory port."""

    port_bits_per_cycle: Integer = Field(
        256, ge=8, le=65536, description="Bits moved a clock cycle (128-bit double data rate: 256)"
    )
    energy_pj_per_access: Number = Field(
        2400.0, gt=0, le=1e9, description="Energy of one access, pJ"
    )
    access_bits: Integer = Field(128, ge=8, le=65536, description="Bits of one access")


class Technology(Section):
    """What the silicon is."""

    node_nm: Literal[22, 28] = Field(28, description="Process of the SRAM table, nm")
    layout_energy_factor: Number = Field(
        1.5, gt=0, le=100, description="PE energy after place and route over before"
    )


class VectorUnit(Section):
    """The unit for softmax, norms, activation functions, adds and rotary embedding."""

    lanes: Integer = Field(
        0, ge=0, le=65536, description="Elements a cycle and pass; 0: left to a host, not counted"
    )


class BitSerial(Accelerator):
    """A machine of the bit-serial family."""

    family: Literal["bit_serial"] = Field(description="Always bit_serial")
    clock_hz: Number = Field(gt=0, le=1e11, description="Clock, Hz")
    array: Arrays = Field(description="Shapes of the PE array")
    pe: Pe = Field(description="Processing element")
    buffers: Buffers = Field(description="On-chip buffers")
    dram: Dram = Field(Dram(), description="Memory port")
    technology: Technology = Field(Technology(), description="Silicon")
    vector: VectorUnit = Field(VectorUnit(), description="Unit for everything but matrices")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.pe.output_accumulator_bits < self.pe.accumulator_bits:
            raise ValueError(
                f"pe.output_accumulator_bits {self.pe.output_accumulator_bits} is narrower than "
                f"pe.accumulator_bits {self.pe.accumulator_bits}: a group's sum would be cut"
            )
        if self.pe.kind != "bit_serial" and self.pe.lanes != 1:
            raise ValueError(f"pe.lanes {self.pe.lanes}: a PE of kind {self.pe.kind} has one lane")
        return self
