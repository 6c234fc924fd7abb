"""What devices cost to rent, and what a token costs on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.sim.spec.roofline import Roofline

__all__ = ["tokens_per_usd", "usd_per_hour"]

_SECONDS_PER_HOUR = 3600


def usd_per_hour(devices: Iterable[tuple[Roofline, int]]) -> float | None:
    """Add up the rent of devices, each with its count; None if a price is not stated.

    >>> from plait.sim.spec import load_accelerator
    >>> usd_per_hour([(load_accelerator("h100"), 2), (load_accelerator("h20"), 4)])
    40.64
    """
    rents = [(device.price_usd_per_hour, count) for device, count in devices]
    if any(price is None for price, _ in rents):
        return None
    return sum(price * count for price, count in rents if price is not None)


def tokens_per_usd(tokens_per_s: Any, price_usd_per_hour: Any) -> Any:
    """Give the tokens that one dollar buys."""
    return tokens_per_s * _SECONDS_PER_HOUR / price_usd_per_hour
