"""Schema of the systolic family: a plain array of multiply-adds, to compare others with.

Source of the model: SCALE-Sim v3 (weight stationary, weights loaded a fold at a time).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from plait.sim.spec.base import Accelerator, Integer, Number, Section
from plait.sim.spec.bit_serial import Array

__all__ = ["Systolic", "SystolicMemory"]


class SystolicMemory(Section):
    """The memory port; SCALE-Sim's compute cycles do not see it."""

    port_bits_per_cycle: Integer = Field(ge=8, le=1 << 20, description="Bits moved a clock cycle")


class Systolic(Accelerator):
    """A machine of the systolic family."""

    family: Literal["systolic"] = Field(description="Always systolic")
    clock_hz: Number = Field(gt=0, le=1e11, description="Clock, Hz")
    array: Array = Field(description="Rows and columns of multiply-adds")
    dataflow: Literal["weight_stationary", "output_stationary"] = Field(
        "weight_stationary", description="Which operand stays in the array"
    )
    double_buffered_weights: bool = Field(
        False, strict=True, description="The next fold's weights load while this one computes"
    )
    memory: SystolicMemory = Field(description="Memory port")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.double_buffered_weights and self.dataflow != "weight_stationary":
            raise ValueError("double_buffered_weights needs dataflow: weight_stationary")
        return self
