"""The protocol of a family and the registry of all of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from plait.errors import SpecError, unknown_name
from plait.sim.families.breakdown import Breakdown

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.base import Accelerator

__all__ = ["Family", "cost", "family", "family_names", "fidelities"]

# family -> its module; a new family adds its line here (and in plait.sim.spec.load)
_FAMILIES = {
    "bit_serial": "plait.sim.families.bit_serial",
    "offload": "plait.sim.families.offload",
    "roofline": "plait.sim.families.roofline",
    "sparse_dsp": "plait.sim.families.sparse_dsp",
    "systolic": "plait.sim.families.systolic",
}


# those that cost the search for the keys of a block-sparse mask (HiP)
_SEARCHING = {"bit_serial", "offload", "roofline", "systolic"}


class Family(Protocol):
    """What a family's module offers.

    Attributes:
        FIDELITIES: name -> function of a workload and a machine that gives the Breakdown.
    """

    FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]]


def family_names() -> list[str]:
    """List the families that have a cost model."""
    return sorted(_FAMILIES)


def family(name: str) -> Family:
    """Load a family's module."""
    if name not in _FAMILIES:
        raise SpecError(unknown_name("family", name, _FAMILIES), where="family")
    return cast("Family", importlib.import_module(_FAMILIES[name]))


def fidelities(name: str) -> list[str]:
    """List the fidelities a family offers.

    >>> fidelities("bit_serial")
    ['published', 'closed_form']
    """
    return list(family(name).FIDELITIES)


def cost(workload: Workload, accelerator: Accelerator, fidelity: str = "closed_form") -> Breakdown:
    """Cost one step of a model on a machine, checked: the rungs are finite and not negative."""
    offered = family(accelerator.family).FIDELITIES
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
