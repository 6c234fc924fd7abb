"""How many weights share a scale: the whole tensor, an output channel, or a group along it."""

from __future__ import annotations

from dataclasses import dataclass

from plait.errors import FormatError
from plait.models.formats import Format

__all__ = ["Granularity", "PerChannel", "PerGroup", "PerTensor", "parse_granularity"]


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One scale a matrix."""

    def group_size(self, inputs: int) -> int:
        """Weights along a row that share a scale."""
        return inputs


@dataclass(frozen=True, slots=True)
class PerChannel:
    """One scale an output channel (a row)."""

    def group_size(self, inputs: int) -> int:
        """Weights along a row that share a scale."""
        return inputs


@dataclass(frozen=True, slots=True)
class PerGroup:
    """One scale for ``size`` neighbours along the inputs; the last group of a row may be short.

    >>> PerGroup(64).group_size(576)
    64
    """

    size: int

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise FormatError("not a group size", got=self.size, expected="an integer of 1 or more")

    def group_size(self, inputs: int) -> int:
        """Weights along a row that share a scale."""
        return min(self.size, inputs)


Granularity = PerTensor | PerChannel | PerGroup


def parse_granularity(group_size: int | str | None, fmt: Format) -> Granularity:
    """What a user wrote as ``group_size``; None is the format's own default.

    >>> from plait.models import formats
    >>> parse_granularity(None, formats.get("mxfp4"))
    PerGroup(size=32)
    """
    if group_size is None:
        group_size = fmt.default_group_size
    if isinstance(group_size, str):
        group_size = int(group_size) if group_size.isdecimal() else group_size.lower()
    if group_size == "tensor":
        return PerTensor()
    if group_size == "channel":
        return PerChannel()
    if isinstance(group_size, str):
        raise FormatError(
            "not a group size", got=group_size, expected="a number of weights, channel or tensor"
        )
    return PerGroup(group_size)
