"""A space of designs: what is fixed, what varies, what is allowed; read from YAML or a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plait
from plait.errors import SpecError, unknown_name
from plait.sim.identity import identity
from plait.sim.spec.base import Accelerator
from plait.sim.spec.load import load_accelerator
from plait.sim.spec.yaml_file import Document, read_yaml
from plait.sim.sweep.axis import Axis, axis_of
from plait.sim.sweep.where import Constraint, parse_where

__all__ = ["FORMAT_KEYS", "STEP_KEYS", "Space", "load_space", "space_values"]

STEP_KEYS = ("model", "machine", "phase", "context", "batch")
_KEYS = (*STEP_KEYS, "fidelity", "formats", "vary", "where", "accuracy")
FORMAT_KEYS = ("formats.weight", "formats.activation", "formats.kv")
_DEFAULTS = {"phase": "decode", "context": 256, "batch": 1, "fidelity": "closed_form"}
_MOST_DESIGNS = 10**10
_TRIED = 256  # values of an axis that are all validated; of longer ones the two ends


@dataclass(frozen=True)
class Space:
    """Designs to cost: the product of the axes.

    Attributes:
        fixed: model, machine, phase, context and batch where they do not vary; fidelity; formats.
        axes: what varies, in the order of the file; the last one changes fastest.
        constraint: which designs are kept, or none.
        accuracy: how the perplexity of a format is measured, or none.
        source: file name for messages.
    """

    fixed: Mapping[str, Any]
    axes: tuple[Axis, ...]
    constraint: Constraint | None = None
    accuracy: Mapping[str, Any] | None = None
    source: str = "space"

    def __len__(self) -> int:
        """Return the number of designs before the constraint."""
        return int(np.prod([len(axis) for axis in self.axes], dtype=object)) if self.axes else 1

    def digits(self, start: int, stop: int) -> list[NDArray[np.int64]]:
        """Give, for designs start to stop, the position on every axis: axes x [designs]."""
        shape = tuple(len(axis) for axis in self.axes)
        if not shape:
            return []
        return list(np.unravel_index(np.arange(start, stop), shape))

    def choices(self, key: str) -> list[Any]:
        """Give the values of a key, varied or fixed, as Python values."""
        for axis in self.axes:
            if axis.key == key:
                return (
                    axis.values.tolist() if isinstance(axis.values, np.ndarray) else [*axis.values]
                )
        return [self.fixed[key]] if key in self.fixed else []

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides the result: graphs, machines and what files hold included."""
        machines = [load_accelerator(name).model_dump() for name in self.choices("machine")]
        axes = [(axis.key, [*axis.values]) for axis in self.axes]
        constraint = self.constraint.text if self.constraint else ""
        return identity(
            plait.__version__, self.fixed, axes, machines, self.accuracy or {}, constraint
        )


def load_space(source: str | Path | Mapping[str, Any] | Space, model: object = None) -> Space:
    """Read and check a space.

    Args:
        source: a YAML file, or the same as a mapping.
        model: a Graph that replaces the key ``model``.

    >>> space = load_space({"model": "llama-2-7b", "machine": "bitmod-lossy",
    ...                     "vary": {"array.decode.rows": {"from": 8, "to": 64, "step": 8}}})
    >>> len(space)
    8
    """
    if isinstance(source, Space):
        return source
    if isinstance(source, Mapping):
        document = Document(dict(source), "space", {})
    else:
        document = read_yaml(source)
    return _Reader(document).space(model)


class _Reader:
    """Checks a document key by key; every complaint has file, line and key."""

    def __init__(self, document: Document) -> None:
        self.document, self.data = document, document.data

    def where(self, key: str) -> str:
        return f"{self.document.place(key)}: {key}"

    def space(self, model: object) -> Space:
        for key in self.data:
            if key not in _KEYS:
                raise SpecError(unknown_name("key", key, _KEYS), where=self.where(key))
        data = {**_DEFAULTS, **self.data}
        if model is not None:
            data["model"] = model
        for key in ("model", "machine"):
            if key not in data:
                raise SpecError("missing", where=f"{self.document.source}: {key}")
        listed = {key for key in STEP_KEYS if isinstance(data[key], list | tuple | dict)}
        axes = [self.step_axis(key, data[key]) for key in STEP_KEYS if key in listed]
        fixed = {key: data[key] for key in (*STEP_KEYS, "fidelity") if key not in listed}
        for key in fixed:
            self.check_step(key, [fixed[key]])
        fixed["formats"] = self.formats(data.get("formats"))
        space = Space(
            fixed=fixed,
            axes=(*axes, *self.varied()),
            constraint=self.constraint(),
            accuracy=self.accuracy(),
            source=self.document.source,
        )
        if len(space) > _MOST_DESIGNS:
            where = f"{self.document.source}: vary"
            raise SpecError("too many designs", where=where, got=len(space), expected="up to 1e10")
        self.check_machines(space)
        return space

    def step_axis(self, key: str, given: object) -> Axis:
        axis = axis_of(key, given, self.where(key))
        self.check_step(key, space_values(axis))
        return axis

    def check_step(self, key: str, values: list[Any]) -> None:
        """Models and machines are looked up when they are loaded; phases and sizes are checked."""
        if key == "machine" and not all(isinstance(v, str | Path | Accelerator) for v in values):
            raise SpecError("no name", where=self.where(key), got=values[0])
        if key == "phase" and any(value not in ("decode", "prefill") for value in values):
            raise SpecError(
                "no phase", where=self.where(key), got=values[0], expected="decode or prefill"
            )
        if key in ("context", "batch"):
            for value in values:
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if not is_number or value < 1 or value != int(value):
                    raise SpecError(
                        "out of range", where=self.where(key), got=value,
                        expected="a whole number of at least 1",
                    )  # fmt: skip

    def formats(self, given: object) -> object:
        from plait.models.graph.assign import parse_formats

        parse_formats(given, self.where("formats"))
        return given

    def varied(self) -> list[Axis]:
        given = self.data.get("vary", {})
        if not isinstance(given, dict):
            raise SpecError("not a mapping of keys to values", where=self.where("vary"))
        return [axis_of(key, values, self.where(f"vary.{key}")) for key, values in given.items()]

    def constraint(self) -> Constraint | None:
        text = self.data.get("where")
        if text is None:
            return None
        if not isinstance(text, str):
            raise SpecError("no constraint", where=self.where("where"), got=text, expected="text")
        return parse_where(text, self.where("where"))

    def accuracy(self) -> Mapping[str, Any] | None:
        given = self.data.get("accuracy")
        if given is None:
            return None
        known = {"windows": 8, "group_size": 64}
        if not isinstance(given, dict) or not set(given) <= set(known):
            raise SpecError(
                "not understood", where=self.where("accuracy"), got=given,
                expected="a mapping of windows and group_size",
            )  # fmt: skip
        for key, value in given.items():
            if not isinstance(value, int) or value < 1:
                where = self.where(f"accuracy.{key}")
                raise SpecError("out of range", where=where, got=value, expected="1 or more")
        return {**known, **given}

    def check_machines(self, space: Space) -> None:
        """Every value of an axis must be one the machine's schema takes, whatever the others are.

        Bounds of numbers are intervals, so the ends of a long range stand for all of it.
        """
        for name in space.choices("machine"):
            machine = load_accelerator(name)
            for axis in space.axes:
                if axis.key not in STEP_KEYS:
                    self.check_axis(machine, axis)

    def check_axis(self, machine: Accelerator, axis: Axis) -> None:
        values = space_values(axis)
        for value in values if len(values) <= _TRIED else (min(values), max(values)):
            where = self.where(f"vary.{axis.key}")
            if axis.key in FORMAT_KEYS:
                _check_format(axis.key, value, where)
                continue
            try:
                machine.with_(**{axis.key: value})
            except SpecError as error:
                shown: dict[str, Any] = {} if error.got is None else {"got": error.got}
                raise SpecError(error.what, where=where, expected=error.expected, **shown) from None


def space_values(axis: Axis) -> list[Any]:
    """Give the values of an axis as Python numbers or texts."""
    return axis.values.tolist() if isinstance(axis.values, np.ndarray) else list(axis.values)


def _check_format(key: str, value: object, where: str) -> None:
    from plait.models.graph.assign import parse_formats

    parse_formats({key.removeprefix("formats."): value}, where)
