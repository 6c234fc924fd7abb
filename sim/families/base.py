"""What a family offers, and the registry of all of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import SpecError, unknown_name
from plait.sim.families.breakdown import Breakdown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plait.models.graph.workload import Workload
    from plait.sim.spec.base import Accelerator, Phase
    from plait.sim.timeline.trace import Span

__all__ = ["Family", "cost", "family", "family_names", "fidelities"]

# family -> its module; a new family adds its line here (and in plait.sim.spec.load)
_FAMILIES = {
    "bit_serial": "plait.sim.families.bit_serial",
    "offload": "plait.sim.families.offload",
    "roofline": "plait.sim.families.roofline",
    "sparse_dsp": "plait.sim.families.sparse_dsp",
    "systolic": "plait.sim.families.systolic",
}

_OPTIONAL = ("trace", "array_keys", "on_designs")

# those that cost the search for the keys of a block-sparse mask (HiP)
_SEARCHING = {"bit_serial", "offload", "roofline", "systolic"}


@dataclass(frozen=True, slots=True)
class Family:
    """What a family's module offers; a module that lacks one of the optional functions has None.

    Attributes:
        fidelities: its `FIDELITIES`: name -> function of a workload and a machine that gives the
            Breakdown.
        trace: `trace(workload, machine, fidelity)`: when its instructions run.
        array_keys: `array_keys(machine, phase)`: the keys that `on_designs` takes as arrays.
        on_designs: `on_designs(workload, machine, varied, fidelity)`: totals of many variants of a
            machine at once, by name.
    """

    fidelities: Mapping[str, Callable[[Workload, Any], Breakdown]]
    trace: Callable[[Workload, Any, str], list[Span]] | None = None
    array_keys: Callable[[Any, Phase], list[str]] | None = None
    on_designs: (
        Callable[[Workload, Any, Mapping[str, Any], str], Mapping[str, NDArray[Any]]] | None
    ) = None


def family_names() -> list[str]:
    """List the families that have a cost model."""
    return sorted(_FAMILIES)


def family(name: str) -> Family:
    """Load what a family's module offers."""
    if name not in _FAMILIES:
        raise SpecError(unknown_name("family", name, _FAMILIES), where="family")
    module = importlib.import_module(_FAMILIES[name])
    optional = {option: getattr(module, option, None) for option in _OPTIONAL}
    return Family(module.FIDELITIES, **optional)


def fidelities(name: str) -> list[str]:
    """List the fidelities a family offers.

    >>> fidelities("bit_serial")
    ['published', 'closed_form']
    """
    return list(family(name).fidelities)


def cost(workload: Workload, accelerator: Accelerator, fidelity: str = "closed_form") -> Breakdown:
    """Cost one step of a model on a machine, checked: the rungs are finite and not negative."""
    offered = family(accelerator.family).fidelities
    if fidelity not in offered:
        raise SpecError(
            unknown_name(f"fidelity of family {accelerator.family}", fidelity, offered),
            where="fidelity",
        )
    searching = np.flatnonzero(workload.columns["search_blocks"])
    if len(searching) and accelerator.family not in _SEARCHING:
        raise SpecError(
            f"family {accelerator.family} has no cost for the search of a block-sparse mask",
            where=str(workload.columns["op"][searching[0]]),
            expected="a family of " + ", ".join(sorted(_SEARCHING)),
        )
    return offered[fidelity](workload, accelerator).verify(workload)
