"""One varied key: a list of values, or a range in equal or in logarithmic steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from plait.errors import SpecError
from plait.sim.spec.base import Integer, Number, Section
from plait.sim.spec.complaint import first_complaint

__all__ = ["Axis", "Range", "axis_of"]

_MOST_VALUES = 1_000_000


class Range(Section):
    """Numbers from one end to the other, both included where the steps meet them."""

    start: Number = Field(alias="from", description="First value")
    stop: Number = Field(alias="to", description="Last value")
    step: Number | None = Field(None, gt=0, description="Difference of neighbours")
    count: Integer | None = Field(None, ge=2, le=_MOST_VALUES, description="How many values")
    scale: Literal["linear", "log"] = Field("linear", description="Equal differences or ratios")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.step is None) == (self.count is None):
            raise ValueError("a range needs either step or count")
        if self.stop < self.start:
            raise ValueError(f"from {self.start:g} is beyond to {self.stop:g}")
        if self.scale == "log" and (self.start <= 0 or self.step is not None):
            raise ValueError("scale log needs a positive from, and count instead of step")
        if self.step is not None and (self.stop - self.start) / self.step > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
        return self

    def values(self) -> NDArray[Any]:
        """All values, as integers if every one is whole.

        >>> Range.model_validate({"from": 8, "to": 30, "step": 8}).values()
        array([ 8, 16, 24])
        >>> Range.model_validate({"from": 1, "to": 100, "count": 3, "scale": "log"}).values()
        array([  1,  10, 100])
        """
        if self.step is not None:
            steps = int(np.floor((self.stop - self.start) / self.step + 1e-9))
            found = self.start + self.step * np.arange(steps + 1)
        elif self.scale == "log":
            found = np.geomspace(self.start, self.stop, self.count or 0)
        else:
            found = np.linspace(self.start, self.stop, self.count or 0)
        whole = np.round(found)
        is_whole = np.allclose(found, whole, rtol=1e-12, atol=0)
        return whole.astype(np.int64) if is_whole else found


@dataclass(frozen=True, slots=True)
class Axis:
    """A key and the values it takes, in their order.

    Attributes:
        key: dotted key of the machine, ``formats.weight`` and the like, or ``model``, ``machine``,
            ``phase``, ``context``, ``batch``.
        values: distinct numbers or texts; a NumPy array if all are numbers.
    """

    key: str
    values: Sequence[Any] | NDArray[Any]

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self.values)

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number."""
        return isinstance(self.values, np.ndarray)


def axis_of(key: str, given: object, where: str) -> Axis:
    """Read the values of a key.

    Args:
        given: a list, a mapping that `Range` takes, or one value.
        where: file, line and key for messages.

    >>> axis_of("batch", [1, 2, 4], "batch").values
    array([1, 2, 4])
    """
    if isinstance(given, dict):
        return Axis(key, _range(given, where).values())
    values = list(given) if isinstance(given, list | tuple) else [given]
    if not values:
        raise SpecError("no values", where=where, expected="a list or {from, to, step}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise SpecError("cannot be varied", where=where, got=value, expected="number or name")
    if len(set(values)) < len(values):
        raise SpecError("a value is given twice", where=where, got=values)
    is_numeric = all(isinstance(value, int | float) for value in values)
    return Axis(key, np.array(values) if is_numeric else values)


def _range(given: dict[str, Any], where: str) -> Range:
    try:
        return Range.model_validate(given)
    except ValidationError as error:
        complaint = first_complaint(error, Range)
        raise complaint.error(where) from None
