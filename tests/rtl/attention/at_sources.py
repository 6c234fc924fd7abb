"""Compile order of the attention unit's modules."""

from __future__ import annotations

from pathlib import Path

from harness import RTL, sources_of

_PACKAGES = ("plait_at_pkg", "plait_at_machine_pkg")
_PARTS = {
    "plait_at_dot": ("plait_adder_tree",),
    "plait_at_combine": ("plait_skid",),
}


def up_to(top: str, rtl: Path = RTL) -> list[str]:
    """Paths, relative to rtl/, of what a module needs and itself."""
    needed = {*_PACKAGES[:1], *_PARTS.get(top, ()), top}
    files = sources_of(top, "attention.f", rtl)
    return [str(path.relative_to(rtl)) for path in files if path.stem in needed]
