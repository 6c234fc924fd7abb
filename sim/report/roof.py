"""Roof: one peak and one bandwidth of a machine, the two lines of a roofline."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Roof"]


@dataclass(frozen=True, slots=True)
class Roof:
    """A peak rate of operations and the bandwidth that feeds it.

    ``Report.roofs`` is a tuple of these: what the machine could reach with the formats of the run.

    >>> round(Roof("fp16 · DRAM", operations_per_s=312e12, bytes_per_s=1555e9).ridge, 1)
    200.6
    """

    name: str
    operations_per_s: float
    bytes_per_s: float

    @property
    def ridge(self) -> float:
        """Operations a byte where the two lines meet."""
        return self.operations_per_s / self.bytes_per_s
