"""Compile order of the decode units."""

from __future__ import annotations

from pathlib import Path

from harness import RTL, sources_of

_PARTS = {
    "plait_du_sum": ("plait_adder_tree",),
    "plait_du_trit_tree": ("plait_adder_tree", "plait_du_sum"),
    "plait_du_expander": (),
    "plait_du_expander_dot": ("plait_adder_tree", "plait_du_sum", "plait_du_expander"),
    "plait_du_lookup_table": (),
    "plait_du_codebook": ("plait_ram_1r1w",),
}


def up_to(top: str, rtl: Path = RTL) -> list[str]:
    """Paths, relative to rtl/, of what a module needs and itself."""
    needed = {*_PARTS[top], top}
    files = sources_of(top, "decode.f", rtl)
    return [str(path.relative_to(rtl)) for path in files if path.stem in needed]
