"""Energy of a PE array and of its buffers' accesses, in pJ."""

from __future__ import annotations

from typing import Any

__all__ = ["pe_array_pj"]


def pe_array_pj(busy_cycles: Any, pes: Any, pe_pj: Any, layout_factor: Any) -> Any:
    """Give the energy of an array whose PEs all toggle in every busy cycle.

    Args:
        busy_cycles: cycles in which the array computes.
        pes: number of PEs.
        pe_pj: energy of one PE in one cycle, before layout.
        layout_factor: what place and route adds (BitMoD's simulator: 1.5).
    """
    return busy_cycles * pes * (pe_pj * layout_factor)
