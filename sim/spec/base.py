"""What every machine description shares: the Accelerator, its number types and its formats.

A schema field carries its meaning, its unit (in the name) and its bounds; the docs table, the
command line help and the parameters of the Verilog are read from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, ValidationError

from plait.errors import SpecError
from plait.sim.spec.complaint import first_complaint
from plait.sim.spec.decode_units import DecodeUnits
from plait.sim.spec.section import Integer, Number, Section

__all__ = [
    "Accelerator",
    "FormatTriple",
    "Formats",
    "Integer",
    "ModelFormats",
    "Number",
    "Phase",
    "Section",
]

Phase = Literal["prefill", "decode"]


def _format_or_bits(value: object) -> str | float:
    if isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9.-]{0,39}", value):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 64:
        return float(value)
    raise ValueError(f"no number format, got {value!r:.40}, expected a name or bits from 1 to 64")


FormatOrBits = Annotated[str | float, PlainValidator(_format_or_bits)]


class FormatTriple(Section):
    """The number formats of one case; what is left out falls back to the more general case."""

    weight: FormatOrBits | None = Field(None, description="Weights: a format's name, or bits")
    activation: FormatOrBits | None = Field(None, description="Activations: a name, or bits")
    kv: FormatOrBits | None = Field(None, description="Keys and values: a name, or bits")


class ModelFormats(FormatTriple):
    """The formats a machine's paper used for one model."""

    prefill: FormatTriple = Field(FormatTriple(), description="In prefill only")
    decode: FormatTriple = Field(FormatTriple(), description="In decode only")


class Formats(ModelFormats):
    """The formats a machine runs unless the caller or the model says otherwise.

    >>> Formats(weight=5, models={"yi-6b": {"weight": 5.25}}).resolve("yi-6b", "decode")
    {'weight': 5.25}
    """

    models: Mapping[str, ModelFormats] = Field({}, description="By model name")
    group_size: Integer = Field(
        128, ge=1, le=65536, description="Weights that share a scale where only bits are given"
    )

    def resolve(self, model: str, phase: Phase) -> dict[str, str | float]:
        """Choose weight, activation and kv: model and phase, then model, then phase, then all."""
        mine = self.models.get(model, ModelFormats())
        cases = (getattr(mine, phase), mine, getattr(self, phase), self)
        chosen = {}
        for operand in ("weight", "activation", "kv"):
            values = [getattr(case, operand) for case in cases]
            given = [value for value in values if value is not None]
            if given:
                chosen[operand] = given[0]
        return chosen


class Accelerator(Section):
    """A machine: one family's schema with values; equal descriptions are equal objects.

    Each family derives its own class from this one (`plait.sim.spec.bit_serial.BitSerial`).
    """

    family: str = Field(description="Which cost model and which Verilog: bit_serial, roofline, ...")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64, description="The machine's name"
    )
    summary: str = Field("", max_length=200, description="One line on what the machine is")
    formats: Formats = Field(Formats(), description="Number formats it runs by default")
    decode_units: DecodeUnits = Field(
        DecodeUnits(), description="What decodes compressed weights; what is absent, it lacks"
    )

    def with_(self, **changes: Any) -> Self:
        """Give a copy with some fields changed, checked again.

        Args:
            changes: values by dotted key, such as ``**{"array.decode.rows": 128}``.
        """
        tree = self.model_dump(exclude_unset=True)
        for key, value in changes.items():
            _put(tree, key, value)
        try:
            return type(self).model_validate(tree)
        except ValidationError as error:
            complaint = first_complaint(error, type(self))
            raise complaint.error(self.name, _changed_key(changes, complaint.key)) from None


def _put(tree: dict[str, Any], key: str, value: object) -> None:
    """Set the leaf at a dotted key; a model's name inside ``formats.models`` may hold dots."""
    node, parts = tree, key.split(".")
    if parts[:2] == ["formats", "models"] and len(parts) > 3:
        tail = 2 if parts[-2] in ("prefill", "decode") else 1
        parts = ["formats", "models", ".".join(parts[2:-tail]), *parts[-tail:]]
    for part in parts[:-1]:
        child = node.get(part)
        if child is not None and not isinstance(child, dict):
            raise SpecError(f"{part} holds one value, nothing below it", where=key)
        node[part] = dict(child or {})
        node = node[part]
    node[parts[-1]] = value


def _changed_key(changes: Mapping[str, object], key: str) -> str:
    """Prefer the key as the caller wrote it over the schema's path to the same leaf."""
    return next((given for given in changes if key.startswith(given)), key)
