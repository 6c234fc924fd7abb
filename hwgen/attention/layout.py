"""How the memory of an attention device is laid out, in words of its port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Geometry"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a device that decide the layout.

    Args:
        query_heads, head_size, lanes, port_bits, max_segments: parameters of the device.
    """

    query_heads: int
    head_size: int
    lanes: int
    port_bits: int
    max_segments: int

    @classmethod
    def of(cls, parameters: Mapping[str, int]) -> Geometry:
        """From the parameters of the Verilog."""
        names = ("QueryHeads", "HeadSize", "Lanes", "PortBits", "MaxSegments")
        return cls(*(parameters[name] for name in names))

    @property
    def port_bytes(self) -> int:
        """Of a word."""
        return self.port_bits // 8

    @property
    def steps(self) -> int:
        """Cycles of a key, and of a value."""
        return -(-self.head_size // self.lanes)

    @property
    def vector_words(self) -> int:
        """Of a key, and of a value: 8 bits an element."""
        return -(-self.head_size * 8 // self.port_bits)

    @property
    def query_words(self) -> int:
        """Of a query head: 16 bits an element."""
        return -(-self.head_size * 16 // self.port_bits)

    @property
    def segments_per_word(self) -> int:
        """First token and number of tokens, 32 bits each."""
        return self.port_bits // 64

    @property
    def scales_per_word(self) -> int:
        """Tokens whose scales of key and value, FP16, share a word."""
        return self.port_bits // 32

    @property
    def row_words(self) -> int:
        """Of the accumulators of a step: 64 bits a lane."""
        return -(-self.lanes * 64 // self.port_bits)

    @property
    def head_result_words(self) -> int:
        """A word with reference and sum, then the accumulators."""
        return 1 + self.steps * self.row_words

    @property
    def result_words(self) -> int:
        """Of a job."""
        return self.query_heads * self.head_result_words

    def load_words(self, segments: int) -> int:
        """Words behind a descriptor: score shifts, queries, segments."""
        lists = -(-segments // self.segments_per_word)
        return 1 + self.query_heads * self.query_words + lists
