"""The registry of families: which offers what."""

from __future__ import annotations

import pytest

from plait.errors import SpecError
from plait.sim.families.base import family, family_names

OFFERED = {
    "bit_serial": {"array_keys", "on_designs"},
    "offload": set(),
    "roofline": set(),
    "sparse_dsp": {"trace"},
    "systolic": set(),
}


def test_every_family_is_listed() -> None:
    assert family_names() == sorted(OFFERED)


@pytest.mark.parametrize("name", OFFERED)
def test_which_family_offers_which(name: str) -> None:
    found = family(name)
    options = ("trace", "array_keys", "on_designs")
    assert {option for option in options if getattr(found, option)} == OFFERED[name]
    assert {"published", "closed_form"} <= set(found.fidelities)


def test_a_family_that_is_not_there() -> None:
    with pytest.raises(SpecError, match="unknown family 'bit-serial': did you mean bit_serial"):
        family("bit-serial")
