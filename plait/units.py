"""Numbers with the prefixes of the SI, wherever a reader sees them."""

from __future__ import annotations

__all__ = ["engineering", "scale_of"]

_PREFIXES = (
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
)


def scale_of(value: float) -> tuple[float, str]:
    """Give what to divide by, and its prefix.

    >>> scale_of(8.1e7), scale_of(0.0)
    ((1000000.0, 'M'), (1.0, ''))
    """
    if value == 0:
        return 1.0, ""
    return next((pair for pair in _PREFIXES if abs(value) >= pair[0]), _PREFIXES[-1])


def engineering(value: float, unit: str) -> str:
    """Four digits and a prefix.

    >>> engineering(81344464, "B"), engineering(0.0123, "s"), engineering(0, "J")
    ('81.34 MB', '12.3 ms', '0 J')
    """
    scale, prefix = scale_of(value)
    return f"{value / scale:.4g} {prefix}{unit}"
