"""Design parameters as arrays: a machine's own values, some replaced by a sweep's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError
from plait.sim.spec.base import Accelerator

__all__ = ["gather"]


def gather(
    machine: Accelerator, keys: Mapping[str, str], varied: Mapping[str, ArrayLike]
) -> dict[str, NDArray[Any]]:
    """Give every parameter as an array [designs].

    Args:
        machine: where the values come from that are not varied.
        keys: parameter -> dotted key of the description.
        varied: values by dotted key; all of one length, or single. The caller has checked bounds.

    >>> from plait.sim.spec import load_accelerator
    >>> gather(load_accelerator("ant"), {"rows": "array.decode.rows"}, {})
    {'rows': array([64])}
    """
    names = {key: name for name, key in keys.items()}
    for key in varied:
        if key not in names:
            raise SpecError(
                "cannot be varied as an array", where=key, expected="one of " + ", ".join(names)
            )
    given = {names[key]: np.atleast_1d(np.asarray(value)) for key, value in varied.items()}
    length = max((len(value) for value in given.values()), default=1)
    values = {name: given.get(name, _leaf(machine, key)) for name, key in keys.items()}
    return {name: np.broadcast_to(np.asarray(v), (length,)) for name, v in values.items()}


def _leaf(machine: Accelerator, key: str) -> Any:
    """The value at a dotted key; a number that is not stated is NaN."""
    value: Any = machine
    for part in key.split("."):
        value = getattr(value, part)
    return np.nan if value is None else value
