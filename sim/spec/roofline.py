"""Schema of the roofline family: anything described by its peaks, such as a GPU.

Sources of the model: "LLM Inference Unveiled" (arXiv 2402.16363) and its tool LLM-Viewer.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from plait.sim.spec.base import Accelerator, Integer, Number, Section
from plait.sim.spec.decode_units import DecodeUnits

__all__ = ["Compute", "Efficiency", "Memory", "Roofline", "TensorParallel"]


class Compute(Section):
    """Peak arithmetic; a multiply-add counts as two operations."""

    fp16_operations_per_s: Number = Field(gt=0, le=1e21, description="Dense FP16 or BF16 peak")
    int8_operations_per_s: Number | None = Field(
        None, gt=0, le=1e21, description="Dense INT8 peak; used only if all operands are <= 8 bit"
    )
    vector_operations_per_s: Number | None = Field(
        None,
        gt=0,
        le=1e21,
        description="Peak of what is no matrix unit; decodes codebooks, palettes and outliers in "
        "software where there is no decode unit; default: they cost no time",
    )


class Memory(Section):
    """Off-chip memory and the on-chip buffer in front of it."""

    bandwidth_bytes_per_s: Number = Field(gt=0, le=1e18, description="Peak bandwidth, decimal")
    capacity_bytes: Number | None = Field(None, gt=0, le=1e18, description="Off-chip memory")
    buffer_bytes: Number | None = Field(
        None, gt=0, le=1e15, description="On-chip buffer; fused attention tiles into it"
    )


class Efficiency(Section):
    """Reached shares of the peaks; 1 makes the ideal roofline. Used by closed_form only."""

    compute: Number = Field(1.0, gt=0, le=1, description="Of the arithmetic peak")
    memory: Number = Field(1.0, gt=0, le=1, description="Of the bandwidth, except attention")
    attention_memory: Number = Field(1.0, gt=0, le=1, description="Of the bandwidth, attention")


class TensorParallel(Section):
    """Several such devices that split every layer. Used by closed_form only."""

    devices: Integer = Field(1, ge=1, le=4096, description="Devices that share the work")
    link_bytes_per_s: Number = Field(
        300e9, gt=0, le=1e18, description="Bandwidth of one device's link, one direction"
    )
    link_latency_s: Number = Field(0.0, ge=0, le=1, description="Latency of one step of a ring")


class Roofline(Accelerator):
    """A machine of the roofline family."""

    family: Literal["roofline"] = Field(description="Always roofline")
    compute: Compute = Field(description="Peak arithmetic")
    memory: Memory = Field(description="Memories")
    efficiency: Efficiency = Field(Efficiency(), description="Reached shares of the peaks")
    tensor_parallel: TensorParallel = Field(TensorParallel(), description="Split over devices")
    kernel_launch_s: Number = Field(0.0, ge=0, le=1, description="Fixed time of each kernel")
    clock_hz: Number | None = Field(
        None, gt=0, le=1e11, description="Clock of the decode units, Hz; they need it"
    )
    attention: Literal["unfused", "fused"] = Field(
        "unfused", description="fused: scores never leave the chip (FlashAttention)"
    )
    activations: Literal["memory", "on_chip"] = Field(
        "memory",
        description="on_chip: activations between operations cost no traffic, and scores and "
        "embedding are counted as GenZ counts them, unless the next two keys say otherwise",
    )
    scores: Literal["causal", "full"] | None = Field(
        None,
        description="Scores computed in prefill: causal leaves out masked ones, full does not; "
        "default causal, full with activations: on_chip",
    )
    embedding: Literal["lookup", "matmul"] | None = Field(
        None,
        description="Embedding in prefill: a row a token, or a product with one-hot vectors; "
        "default lookup, matmul with activations: on_chip",
    )
    power_w: Number | None = Field(None, gt=0, le=1e7, description="Board power")
    price_usd_per_hour: Number | None = Field(None, gt=0, le=1e6, description="Rental price")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.clock_hz is None and self.decode_units != DecodeUnits():
            raise ValueError("decode_units need clock_hz, which is missing")
        return self
