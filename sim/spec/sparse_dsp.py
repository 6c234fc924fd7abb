"""Schema of the sparse DSP family: chains of DSP slices behind an instruction scheduler.

The machine of FlightLLM (FPGA 2024, arXiv 2401.03868) with the constants of the performance model
its authors published. Field names are the parameters of the Verilog in camel case.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plait.sim.spec.base import Accelerator, Integer, Number, Section

__all__ = ["BLOCK", "Core", "Cores", "SparseDsp", "SparseDspBuffers", "SparseDspMemory", "Storage"]

BLOCK = 16
"""Values along K, and outputs, of one block of weights: the N of N:16 and the width of an entry."""


class Cores(Section):
    """Equal cores that share a layer's outputs; each has its own channels of the memory."""

    count: Integer = Field(ge=1, le=64, description="Cores")
    efficiency: Number = Field(
        1.0, gt=0, le=1, description="Speed of a core beside others over its speed alone"
    )

    @property
    def speed(self) -> float:
        """What the cores do together over what one does alone."""
        return self.count * self.efficiency


class Core(Section):
    """One core: chains of DSP slices, and lanes for everything but matrices."""

    chains: Integer = Field(ge=1, le=4096, description="Chains of DSP slices: dot products at once")
    chain_dsps: Integer = Field(16, ge=2, le=64, description="DSP slices of a chain")
    pack: Integer = Field(2, ge=1, le=2, description="Rows that share a weight in a slice, in MM")
    mm_columns: Integer = Field(2, ge=1, le=16, description="Outputs computed at once in MM")
    mv_columns: Integer = Field(ge=1, le=4096, description="Outputs computed at once in MV")
    misc_lanes: Integer = Field(16, ge=1, le=1024, description="Elements a cycle and pass of MISC")
    drain_cycles: Integer = Field(
        0, ge=0, le=4096, description="From the last operands of a sum to its result, cycles"
    )
    issue_cycles: Integer = Field(
        0, ge=0, le=256, description="Of the scheduler, for every instruction of a queue, cycles"
    )
    dsp48e2: bool = Field(
        False,
        strict=True,
        description="Verilog of the slices: the primitive of UltraScale+, or plain for any device",
    )

    @property
    def mm_rows(self) -> int:
        """Token rows of an MM instruction."""
        return self.chains * self.pack // self.mm_columns

    @property
    def passes(self) -> int:
        """Cycles of one dense K block, in MM and in MV."""
        return BLOCK // self.mm_columns

    @property
    def mv_outputs(self) -> int:
        """Outputs of an MV instruction."""
        return self.mv_columns * self.passes


class SparseDspBuffers(Section):
    """On-chip buffers of a core, in entries."""

    a_entries: Integer = Field(
        ge=2, le=4096, description="Of each channel: mm_rows / channels rows of 16 values"
    )
    b_entries: Integer = Field(ge=8, le=4096, description="Of mm_columns x 16 values")
    global_entries: Integer = Field(ge=2, le=4096, description="Results; an entry as that of A")
    meta_entries: Integer = Field(ge=8, le=4096, description="Places of kept weights, 16 bytes")
    fsb_entries: Integer = Field(ge=1, le=4096, description="Kept weights of a block, 1 byte")
    bias_entries: Integer = Field(ge=1, le=4096, description="16 biases of 32 bit")


class SparseDspMemory(Section):
    """The channels of a core."""

    channels: Integer = Field(8, ge=1, le=8, description="Channels that A and results stream from")
    channel_bytes_per_s: Number = Field(gt=0, le=1e15, description="Peak rate of one channel")
    same_channel_efficiency: Number = Field(
        1.0, gt=0, le=1, description="Of the peak, reached within a channel"
    )
    cross_channel_efficiency: Number = Field(
        1.0, gt=0, le=1, description="Of the peak, reached from another core's channel"
    )


class Storage(Section):
    """How our own model stores weights and keeps data; the published one is fixed."""

    index: Literal["mask", "list", "none"] = Field(
        "mask",
        description="Places of kept weights: 16-bit masks, 4 bits a kept weight, or left out",
    )
    always_on_chip: bool = Field(
        True, strict=True, description="Decode keeps vectors in the core between operations"
    )
    weight_reuse: bool = Field(
        True, strict=True, description="Prefill loads a weight once for all row tiles that fit"
    )


class SparseDsp(Accelerator):
    """A machine of the sparse DSP family."""

    family: Literal["sparse_dsp"] = Field(description="Always sparse_dsp")
    clock_hz: Number = Field(gt=0, le=1e11, description="Clock, Hz")
    cores: Cores = Field(description="Cores and what they lose by working together")
    core: Core = Field(description="One core")
    buffers: SparseDspBuffers = Field(description="Buffers of a core")
    memory: SparseDspMemory = Field(description="Memory of a core")
    storage: Storage = Field(Storage(), description="Choices of our own model")
    density: Mapping[str, Annotated[Number, Field(gt=0, le=1)]] = Field(
        {}, description="Part of the weights kept, by a pattern of op names; 1 where none fits"
    )
    power_w: Number | None = Field(None, gt=0, le=1e6, description="Power of the board, W")
    price_usd: Number | None = Field(None, gt=0, le=1e9, description="Price of the board, USD")

    def density_of(self, op: str) -> float:
        """Give the part of an op's weights that is kept: that of the first pattern that fits."""
        return next((d for pattern, d in self.density.items() if fnmatchcase(op, pattern)), 1.0)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        core = self.core
        if core.chain_dsps != BLOCK:
            raise ValueError(
                f"core.chain_dsps {core.chain_dsps}: a chain takes a block of {BLOCK} at once"
            )
        if BLOCK % core.mm_columns:
            raise ValueError(f"core.mm_columns {core.mm_columns} does not divide {BLOCK}")
        if core.chains * core.pack % core.mm_columns:
            raise ValueError(
                f"core.chains {core.chains} x pack {core.pack} is no multiple of "
                f"mm_columns {core.mm_columns}"
            )
        if core.mv_columns > core.chains:
            raise ValueError(
                f"core.mv_columns {core.mv_columns} is more than the {core.chains} chains"
            )
        if core.mm_rows % self.memory.channels:
            raise ValueError(
                f"{core.mm_rows} rows of MM do not spread over memory.channels "
                f"{self.memory.channels}"
            )
        if self.decode_units.trit_tree is not None:
            raise ValueError(
                "decode_units.trit_tree: chains of DSP slices have no trees beside them"
            )
        return self
