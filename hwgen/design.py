"""A generated machine in memory: what every family's recipe gives, and generate() writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["Design", "render"]

_TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True, slots=True)
class Design:
    """The Verilog of one machine.

    Args:
        machine: its name.
        family: which recipe made it.
        phase: "decode" or "prefill"; the shape of the array.
        parameters: of the core, by their Verilog names.
        formats: names in the order of the descriptor's format index.
        files: text by path, relative to the output folder.
        sources: paths to compile, in order.
        include_folders: where sources find their headers.
        states: names of the sequencer's states.
        counters: names of the cycle counters, in order.
        errors: names of the error bits, lowest first.
    """

    machine: str
    family: str
    phase: str
    parameters: Mapping[str, int]
    formats: tuple[str, ...]
    files: Mapping[str, str]
    sources: tuple[str, ...]
    include_folders: tuple[str, ...]
    states: tuple[str, ...]
    counters: tuple[str, ...]
    errors: tuple[str, ...]

    @property
    def port_bytes(self) -> int:
        """Bytes of a word of the memory port."""
        return self.parameters["PortBits"] // 8


def render(template: str, **values: object) -> str:
    """Fill in a template of hwgen/templates; a name it lacks is an error."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(template).render(**values)
