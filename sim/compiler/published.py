"""Workload -> units exactly as FlightLLM's published instruction generator makes them.

Source: the artifact of FlightLLM (FPGA 2024, arXiv 2401.03868). It is defined for decoders built
as Llama-2-7B is (one query head a key head, gated SiLU, RMS norm), one sequence, INT8 activations,
on the core of that paper. Prompts have programs in steps of 128 tokens, decode in steps of 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import SpecError
from plait.sim.compiler import published_decode as decode
from plait.sim.compiler import published_prefill as prefill
from plait.sim.compiler.instruction import Program, Queue
from plait.sim.compiler.published_masks import (
    LARGEST_PROMPT,
    HeadMask,
    cut,
    full_triangle,
    measured,
)
from plait.sim.compiler.split import split_k
from plait.sim.compiler.unit import Unit
from plait.sim.spec.sparse_dsp import BLOCK, Core, SparseDsp, SparseDspBuffers

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = ["DECODE_BUCKET", "LONGEST", "PREFILL_BUCKET", "bucket", "in_order", "units"]

DECODE_BUCKET, PREFILL_BUCKET, LONGEST = 16, 128, 2048

_KINDS = [
    "embedding",
    *("norm", "linear", "linear", "linear", "rope", "rope", "attention", "linear", "elementwise"),
    *("norm", "linear", "activation", "linear", "elementwise", "linear", "elementwise"),
    *("norm", "linear"),
]
_FIRST_NORM, _Q, _K, _V, _ATTENTION, _OUT, _NORM = 1, 2, 3, 4, 7, 8, 10
_GATE, _UP, _DOWN, _LAST_NORM, _HEAD = 11, 13, 15, 17, 18
_LINEARS = {  # place -> has the recipe a bias, what is fused
    _Q: (True, "rope"),
    _K: (True, "rope"),
    _V: (True, ""),
    _OUT: (True, "add"),
    _GATE: (False, "silu"),
    _UP: (False, "mul"),
    _DOWN: (False, "add"),
    _HEAD: (False, ""),
}
_CORE = Core(chains=128, mv_columns=64)
_BUFFERS = SparseDspBuffers(
    a_entries=4096, b_entries=4096, global_entries=512, meta_entries=4096, fsb_entries=4096,
    bias_entries=4096,
)  # fmt: skip
_OURS = {"drain_cycles", "issue_cycles", "dsp48e2"}  # fields the published model does not know


def bucket(phase: str, tokens: int) -> int:
    """Give the length whose program runs a step.

    >>> bucket("decode", 129), bucket("prefill", 129)
    (144, 256)
    """
    step = DECODE_BUCKET if phase == "decode" else PREFILL_BUCKET
    return -(-tokens // step) * step


def units(workload: Workload, machine: SparseDsp) -> list[Unit]:
    """Compile a step, every unit once with its count, in the order of the ops."""
    _check(workload, machine)
    tokens = bucket(workload.phase, workload.context)
    made = _Maker(workload, machine, tokens)
    found = []
    for row in (_FIRST_NORM, _Q, _K, _V):
        found += made.unit(row)
    found += made.attention()
    for row in (_OUT, _NORM, _GATE, _UP, _DOWN, _LAST_NORM, _HEAD):
        found += made.unit(row)
    return found


def in_order(compiled: Sequence[Unit]) -> list[tuple[str, Program]]:
    """Unroll the layers of compiled units: names and programs as they run."""
    layers = compiled[0].count
    order = []
    for layer in range(layers):
        for unit in compiled:
            times = unit.count // layers if unit.layer is None else int(unit.layer == layer)
            order += [(unit.name, unit.program)] * times
    last = [unit for unit in compiled if unit.layer is None and unit.count < layers]
    return order + [(unit.name, unit.program) for unit in last]


class _Maker:
    """Makes the units of one workload."""

    def __init__(self, workload: Workload, machine: SparseDsp, tokens: int) -> None:
        self.c, self.machine, self.tokens = workload.columns, machine, tokens
        self.is_decode = workload.phase == "decode"

    def unit(self, row: int) -> list[Unit]:
        """A norm or a linear with what is fused into it."""
        program = self._linear(row) if row in _LINEARS else self._norm(row)
        return [Unit(self._name(row), row, int(self.c["count"][row]), program)]

    def _name(self, row: int) -> str:
        return str(self.c["op"][row])

    def _norm(self, row: int) -> Program:
        rows = 1 if self.is_decode else self.tokens
        width = int(self.c["cin"][_Q])
        return decode.norm(rows, width)

    def _linear(self, row: int) -> Program:
        inputs, outputs = int(self.c["cin"][row]), int(self.c["cout"][row])
        density = self.machine.density_of(self._name(row))
        # It counts a byte a weight and lets narrower and sparser ones come faster.
        ratio = 8 / float(self.c["weight_bits"][row]) / density
        rest = (inputs, outputs, density, ratio, *_LINEARS[row])
        queue = Queue.MV if self.is_decode else Queue.MM
        split = split_k(inputs // BLOCK, queue, self.machine)
        if self.is_decode:
            return decode.gemv(split, *rest)
        return prefill.gemm(split, self.tokens, *rest)

    def attention(self) -> list[Unit]:
        """Concatenation, scores and values; in prefill every layer has its own masks."""
        count, heads, head = (int(self.c[n][_ATTENTION]) for n in ("count", "heads", "head_dim"))
        name = self._name(_ATTENTION)
        if self.is_decode:
            parts = {
                "concat": (2, decode.concat(heads * head, self.tokens)),
                "scores": (1, decode.attention(heads, head, self.tokens, softmax=True)),
                "values": (1, decode.attention(heads, self.tokens, head, softmax=False)),
            }
            return [
                Unit(f"{name} {part}", _ATTENTION, times * count, program)
                for part, (times, program) in parts.items()
            ]
        return [
            Unit(f"{name} {part}", _ATTENTION, 1, make(self.tokens, masks), layer)
            for layer, masks in enumerate(self._masks(count, heads))
            for part, make in (("scores", prefill.keys), ("values", prefill.values))
        ]

    def _masks(self, layers: int, heads: int) -> list[tuple[HeadMask, ...]]:
        if self.tokens == PREFILL_BUCKET:
            return [(full_triangle(self.tokens),) * heads] * layers
        return [tuple(cut(mask, self.tokens) for mask in layer) for layer in measured()]


def _check(workload: Workload, machine: SparseDsp) -> None:
    """Refuse in one line what the published model does not define."""
    for mine, theirs in ((machine.core, _CORE), (machine.buffers, _BUFFERS)):
        for name, value in mine:
            if name not in _OURS and value != getattr(theirs, name):
                raise _undefined(f"{machine.name}: {name}", value, str(getattr(theirs, name)))
    c = workload.columns
    if list(c["kind"]) != _KINDS:
        raise _undefined(workload.model, len(c["kind"]), "the ops of a Llama-2 decoder")
    heads, kv_heads, head = (int(c[n][_ATTENTION]) for n in ("heads", "kv_heads", "head_dim"))
    if heads != kv_heads or head != 128:
        where = f"{workload.model}: {c['op'][_ATTENTION]}"
        raise _undefined(where, f"{heads}/{kv_heads} x {head}", "as many key heads, of 128 values")
    widths = np.concatenate([c[n][list(_LINEARS)] for n in ("cin", "cout")])
    if (widths % BLOCK).any():
        raise _undefined(workload.model, int(widths[np.argmax(widths % BLOCK)]), "widths of 16 n")
    if workload.batch != 1:
        raise _undefined("batch", workload.batch, "1")
    for name, rows in (("activation_bits", list(_LINEARS)), ("kv_bits", [_ATTENTION])):
        other = [float(bits) for bits in c[name][rows] if bits != 8]
        if other:
            raise _undefined(f"formats: {name}", other[0], "8")
    _check_length(workload, heads)


def _check_length(workload: Workload, heads: int) -> None:
    tokens = bucket(workload.phase, workload.context)
    if workload.phase == "decode":
        if tokens > LONGEST:
            raise _undefined("context", workload.context, f"at most {LONGEST}")
        return
    is_measured = (workload.columns["count"][_ATTENTION], heads) == (len(measured()), 32)
    limit = LARGEST_PROMPT if is_measured else PREFILL_BUCKET
    if tokens > limit:
        raise _undefined(
            "context", workload.context, f"at most {limit} tokens, whose attention masks are known"
        )


def _undefined(where: str, got: Any, expected: str) -> SpecError:
    return SpecError(
        "the published model does not define this", where=where, got=got, expected=expected,
        hint="fidelity closed_form or timeline takes it",
    )  # fmt: skip
