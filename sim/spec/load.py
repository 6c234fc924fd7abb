"""YAML -> Accelerator: presets by name, files by path, every mistake on one line."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

from pydantic import ValidationError

from plait.errors import SpecError, unknown_name
from plait.sim.spec.base import Accelerator
from plait.sim.spec.complaint import first_complaint
from plait.sim.spec.yaml_file import Document, parse_yaml, read_yaml

__all__ = ["accelerator_names", "load_accelerator", "parse_accelerator"]

# family -> module and class of its schema; a new family adds its line here
_SCHEMAS = {
    "bit_serial": ("bit_serial", "BitSerial"),
    "offload": ("offload", "Offload"),
    "roofline": ("roofline", "Roofline"),
    "sparse_dsp": ("sparse_dsp", "SparseDsp"),
    "systolic": ("systolic", "Systolic"),
}
_PRESETS = Path(__file__).parent / "presets"


def accelerator_names() -> list[str]:
    """List the published machines that `load_accelerator` knows by name.

    >>> "bitmod-lossy" in accelerator_names()
    True
    """
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def load_accelerator(source: str | Path | Accelerator) -> Accelerator:
    """Load a machine.

    Args:
        source: a preset's name, the path of a YAML file, or a machine (returned as it is).

    >>> load_accelerator("bitmod-lossy").pe.kind
    'bit_serial'
    """
    if isinstance(source, Accelerator):
        return source
    if isinstance(source, str) and source in accelerator_names():
        return _preset(source)
    path = Path(source)
    looks_like_a_file = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    if not looks_like_a_file and not _is_file(path):
        what = unknown_name("machine", str(source), accelerator_names())
        raise SpecError(what, hint="or give the path of a .yaml file")
    return _accelerator(read_yaml(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or with an embedded null character
        return False


def parse_accelerator(text: str, source: str = "<text>") -> Accelerator:
    """Load a machine from YAML text; ``source`` names it in errors."""
    return _accelerator(parse_yaml(text, source))


@functools.cache
def _preset(name: str) -> Accelerator:
    return _accelerator(read_yaml(_PRESETS / f"{name}.yaml"))


def _accelerator(document: Document) -> Accelerator:
    schema = _schema(document)
    try:
        return schema.model_validate(document.data)
    except ValidationError as error:
        complaint = first_complaint(error, schema)
        raise complaint.error(document.place(complaint.key)) from None


def _schema(document: Document) -> type[Accelerator]:
    if "family" not in document.data:
        expected = "family: " + " | ".join(_SCHEMAS)
        raise SpecError("missing", where=f"{document.source}: family", expected=expected)
    family = document.data["family"]
    if not isinstance(family, str) or family not in _SCHEMAS:
        where = f"{document.place('family')}: family"
        raise SpecError(unknown_name("family", family, _SCHEMAS), where=where)
    module, name = _SCHEMAS[family]
    schema: type[Accelerator] = getattr(importlib.import_module(f"plait.sim.spec.{module}"), name)
    return schema
