"""Whether a program fits the buffers of a machine."""

from __future__ import annotations

import numpy as np

from plait.errors import SpecError
from plait.sim.compiler.instruction import LoadTarget, Program, Queue
from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["check"]


def check(program: Program, machine: SparseDsp) -> Program:
    """Refuse fields that have no bits and entries that a buffer does not have; return the program.

    The error names the instruction, the field and the entries there are.
    """
    program.verify()
    buffers = machine.buffers
    targets = {
        LoadTarget.B: buffers.b_entries,
        LoadTarget.META: buffers.meta_entries,
        LoadTarget.BIAS: buffers.bias_entries,
        LoadTarget.FSB: buffers.fsb_entries,
        LoadTarget.A: buffers.a_entries,
        LoadTarget.GLOBAL: buffers.global_entries,
    }
    for target, entries in targets.items():
        is_load = (program["queue"] == Queue.LD) & (program["mode"] == target)
        _refuse(program, is_load, "bank_address", entries, f"buffer {target.name}")
    unknown = (program["queue"] == Queue.LD) & (program["mode"] >= len(LoadTarget))
    if unknown.any():
        index = int(np.argmax(unknown))
        raise SpecError(
            "loads into no buffer", where=program.place(index), got=int(program["mode"][index]),
            expected="mode 0 to 5",
        )  # fmt: skip
    fields = {
        "a_address": buffers.a_entries,
        "b_address": buffers.b_entries,
        "out_address": buffers.global_entries,
        "bias_address": buffers.bias_entries,
        "meta_address": buffers.meta_entries,
        "fsb_address": buffers.fsb_entries,
    }
    multiplies = np.isin(program["queue"], (Queue.MM, Queue.MV))
    for field, entries in fields.items():
        _refuse(program, multiplies, field, entries, f"{field.removesuffix('_address')} buffer")
    return program


def _refuse(program: Program, which: np.ndarray, field: str, entries: int, buffer: str) -> None:
    if field not in program.columns:
        return
    wrong = which & (program[field] >= entries)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise SpecError(
            f"{field} is outside the {buffer}", where=program.place(index),
            got=int(program[field][index]), expected=f"0 to {entries - 1}",
        )  # fmt: skip
