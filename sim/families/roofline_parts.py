"""What a roofline machine executes: a workload's ops as kernels with operations and bytes.

Two ways of counting: `published_parts` are LLM-Viewer's equations ("LLM Inference Unveiled",
arXiv 2402.16363, and its tool) with every quirk, `closed_form_parts` are ours without them. An
attention op is three kernels (scores, softmax, values) or one fused kernel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.families.decode_units import Decoding, decoding, software_operations

if TYPE_CHECKING:
    from plait.models.formats import Format
    from plait.models.graph.workload import Workload
    from plait.sim.spec.roofline import Roofline

__all__ = ["Parts", "closed_form_parts", "published_parts"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_HALF_BITS = 16
SOFTMAX_OPERATIONS = 5  # a score: maximum, subtraction, exponential, sum, division
NORM_OPERATIONS = 7  # an element
ACTIVATION_OPERATIONS = 2  # an element
ROPE_OPERATIONS = 3  # an element: two products and a sum


@dataclass(frozen=True, slots=True)
class Parts:
    """Kernels, one an entry; every array is [kernels], for one execution (not times `count`).

    Attributes:
        row: op of the workload the kernel belongs to.
        count: repetitions of the op.
        operations: a multiply-add is two.
        weight_bytes, input_bytes, output_bytes, kv_bytes: off-chip traffic.
        is_attention: its bandwidth efficiency is attention's.
        is_split: tensor parallelism divides it (linears and attention).
        reduced_bytes: bytes of the all-reduce after it, if the model is split.
        fits_int8: its operands are of 8 bits or less.
        vector_operations: of decoding weights in software.
        unit_seconds, waiting_seconds: of decode units, beside the array and before it.
        on_trees: the decode unit does the product, too.
    """

    row: Rows
    count: Floats
    operations: Floats
    weight_bytes: Floats
    input_bytes: Floats
    output_bytes: Floats
    kv_bytes: Floats
    is_attention: NDArray[np.bool_]
    is_split: NDArray[np.bool_]
    reduced_bytes: Floats
    fits_int8: NDArray[np.bool_]
    vector_operations: Floats
    unit_seconds: Floats
    waiting_seconds: Floats
    on_trees: NDArray[np.bool_]

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """Put kernels together, in the order of their ops."""
        parts = list(parts)
        order = np.argsort(np.concatenate([part.row for part in parts]), kind="stable")
        joined = {n: np.concatenate([getattr(part, n) for part in parts])[order] for n in _KINDS}
        return cls(**joined)

    @property
    def bytes(self) -> Floats:
        """All off-chip traffic of one execution."""
        return self.weight_bytes + self.input_bytes + self.output_bytes + self.kv_bytes

    def where(self, is_attention: bool) -> Self:
        """Keep only the kernels of attention, or only the others."""
        return self.at(self.is_attention == is_attention)

    def at(self, chosen: NDArray[np.bool_]) -> Self:
        """Keep only the chosen kernels."""
        return type(self)(**{name: getattr(self, name)[chosen] for name in _KINDS})

    def without_activations(self) -> Self:
        """Keep activations on chip: only weights, keys and values are moved."""
        nothing = np.zeros_like(self.operations)
        return dataclasses.replace(self, input_bytes=nothing, output_bytes=nothing)


# array -> type of its entries
_KINDS = {f.name: np.bool_ if "bool" in str(f.type) else np.float64 for f in fields(Parts)}


class _Columns:
    """A workload's numbers at some rows: as floats, for counts may pass 2^63; bytes, not bits."""

    def __init__(self, workload: Workload, row: Rows) -> None:
        self.row = row
        self.of = {name: column[row] for name, column in workload.columns.items()}
        self.batch, self.query = float(workload.batch), float(workload.query)
        self.is_prefill = workload.phase == "prefill"

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_bytes"):
            return self.of[name.removesuffix("_bytes") + "_bits"] / 8
        return self.of[name].astype(np.float64)

    def parts(self, operations: Any, **given: Any) -> Parts:
        """Make kernels of these rows; what is not given is 0 or False."""
        given |= {"operations": operations, "count": self.of["count"]}
        values: dict[str, Any] = {n: np.zeros(self.row.shape, kind) for n, kind in _KINDS.items()}
        for name, value in given.items():
            values[name][:] = value
        return Parts(**values | {"row": self.row})


def _of_kind(workload: Workload, *kinds: str) -> _Columns:
    return _Columns(workload, np.flatnonzero(np.isin(workload.columns["kind"], kinds)))


def _choose(workload: Workload, mask: NDArray[np.bool_]) -> _Columns:
    return _Columns(workload, np.flatnonzero(mask))


# --- LLM-Viewer, quirks included -----------------------------------------------------------


def published_parts(workload: Workload, machine: Roofline) -> Parts:
    """Count as LLM-Viewer does. Not counted by it: embedding, rotary, final norm, gating product.

    Its 8-bit peak is used only if weights, activations, keys and values all have 8 bits or less.
    """
    c = workload.columns
    is_output = c["is_output"].astype(bool)
    is_linear = np.isin(c["kind"], ("linear", "experts"))
    last_in_layers = np.flatnonzero(is_linear & ~is_output).max(initial=-1)
    in_layers = np.arange(len(workload)) < last_in_layers  # leaves the final norm out
    in_stream = np.arange(len(workload)) > np.argmax(c["kind"] == "attention")  # no positions added
    parts = [
        _linears(_choose(workload, is_linear & ~is_output)),
        _published_head(_choose(workload, is_linear & is_output)),
        *_published_attention(_of_kind(workload, "attention"), machine),
        _pointwise(
            _choose(workload, in_layers & (c["kind"] == "norm")), NORM_OPERATIONS, operands=1
        ),
        _pointwise(_choose(workload, in_stream & (c["function"] == "add")), 1, operands=1),
        _published_activation(_of_kind(workload, "activation"), _hidden(workload)),
    ]
    joined = Parts.join(parts)
    int8 = all(_all_fit_int8(workload, role) for role in ("weight", "activation", "kv"))
    return dataclasses.replace(joined, fits_int8=np.full(len(joined.row), int8))


def _published_head(c: _Columns) -> Parts:
    """Quirks: no factor 2, no batch in its traffic, one token."""
    return c.parts(
        c.batch * c.cin * c.cout,
        weight_bytes=c.cin * c.cout * c.weight_bytes,
        input_bytes=c.cin * c.activation_bytes,
        output_bytes=c.cout * c.activation_bytes,
        is_split=True,
    )


def _published_activation(c: _Columns, hidden: int) -> Parts:
    """Quirk: counted on the hidden size, with two operands, not on the size of the FFN."""
    elements = c.batch * c.query * hidden
    return c.parts(
        ACTIVATION_OPERATIONS * elements,
        input_bytes=2 * elements * c.activation_bytes,
        output_bytes=elements * c.activation_bytes,
    )


def _published_attention(c: _Columns, machine: Roofline) -> list[Parts]:
    """Quirks: no causal halving; in prefill Q is counted with the KV heads."""
    b, s, d = c.batch, c.context, c.head_dim
    scores = b * c.heads * c.query * s
    kv = s * d * b * c.kv_heads * c.kv_bytes
    q_heads = c.kv_heads if c.is_prefill else c.heads
    values = c.query * d * b * c.heads
    products = 2 * scores * d
    if machine.attention == "fused":
        return [_published_fused(c, machine, 2 * products + SOFTMAX_OPERATIONS * scores, values)]
    common = {"is_attention": True, "is_split": True}
    act = c.activation_bytes
    q = c.query * d * b * q_heads * act
    return [
        c.parts(products, input_bytes=q, output_bytes=scores * act, kv_bytes=kv, **common),
        c.parts(
            SOFTMAX_OPERATIONS * scores,
            input_bytes=scores * act,
            output_bytes=scores * act,
            **common,
        ),
        c.parts(
            products, input_bytes=scores * act, output_bytes=values * act, kv_bytes=kv, **common
        ),
    ]


def _published_fused(c: _Columns, machine: Roofline, operations: Any, values: Any) -> Parts:
    """Quirks: the output is twice the scores' size, KV ignores grouped heads."""
    blocks = _query_blocks(c, machine, c.query)
    scores_bytes = c.context * c.batch * c.heads * c.activation_bytes * c.query
    return c.parts(
        operations,
        input_bytes=values * c.activation_bytes,
        output_bytes=2 * scores_bytes,
        kv_bytes=2 * blocks * c.context * c.head_dim * c.batch * c.heads * c.kv_bytes,
        is_attention=True,
        is_split=True,
    )


def _query_blocks(c: _Columns, machine: Roofline, queries: Any) -> Any:
    """How often fused attention streams K and V: once a block of queries that fits the buffer."""
    if machine.memory.buffer_bytes is None:
        raise SpecError(
            "fused attention needs the size of the on-chip buffer",
            where=f"{machine.name}: memory.buffer_bytes",
        )
    kv_bytes = np.maximum(c.kv_bytes, 1 / 8)
    block = np.minimum(np.ceil(machine.memory.buffer_bytes / (kv_bytes * c.head_dim)), c.head_dim)
    return np.ceil(queries / block)


# --- ours ------------------------------------------------------------------------------------


def closed_form_parts(
    workload: Workload, machine: Roofline, decoded: Decoding | None = None
) -> Parts:
    """Count everything once and in its own size.

    Args:
        decoded: what the machine's decode units take; None = ask.
    """
    on_chip = machine.activations == "on_chip"
    scores = machine.scores or ("full" if on_chip else "causal")
    embedding = machine.embedding or ("matmul" if on_chip else "lookup")
    linears = _of_kind(workload, "linear", "experts")
    if decoded is None:
        decoded = decoding(workload, machine, has_software=True)
    in_software = np.where(decoded.unit == "", software_operations(workload), 0.0)
    row, clock_hz = linears.row, machine.clock_hz or np.inf
    parts = [
        dataclasses.replace(
            _linears(linears),
            reduced_bytes=_reduced_bytes(workload, linears),
            vector_operations=in_software[row],
            unit_seconds=decoded.streamed_cycles[row] / clock_hz,
            waiting_seconds=decoded.waiting_cycles[row] / clock_hz,
            on_trees=decoded.on_trees[row],
        ),
        *_attention(_of_kind(workload, "attention"), machine, scores),
        _pointwise(_of_kind(workload, "norm"), NORM_OPERATIONS),
        _pointwise(_of_kind(workload, "elementwise"), 1),
        _pointwise(_of_kind(workload, "activation"), ACTIVATION_OPERATIONS),
        _pointwise(_of_kind(workload, "rope"), ROPE_OPERATIONS),
        _pointwise(_of_kind(workload, "topk"), SOFTMAX_OPERATIONS),
        _embedding(workload, embedding),
    ]
    joined = Parts.join(parts)
    return joined.without_activations() if on_chip else joined


def _attention(c: _Columns, machine: Roofline, scores: str) -> list[Parts]:
    pairs = c.pairs if scores == "causal" else c.query * c.keys
    score_count = c.batch * c.heads * pairs
    products = 2 * score_count * c.head_dim
    softmax = _softmax_operations(c) * score_count
    act = c.activation_bytes
    values = c.batch * c.heads * c.query * c.head_dim * act  # of Q, and of the output
    kv = c.batch * c.kv_heads * c.keys * c.head_dim * c.kv_bytes  # of K, and of V
    fits = _fits_int8(c, "activation") & _fits_int8(c, "kv")
    common = {"is_attention": True, "is_split": True, "fits_int8": fits}
    if machine.attention == "fused":
        # The query heads of a KV head share a block, so K and V stream once for all of them.
        queries = c.query * c.heads // np.maximum(c.kv_heads, 1)
        blocks = _query_blocks(c, machine, queries)
        return [
            c.parts(
                2 * products + softmax,
                input_bytes=values,
                output_bytes=values,
                kv_bytes=2 * kv * blocks,
                **common,
            ),
            *_search(c),
        ]
    s = score_count * act
    return [
        c.parts(products, input_bytes=values, output_bytes=s, kv_bytes=kv, **common),
        c.parts(softmax, input_bytes=s, output_bytes=s, **common),
        c.parts(products, input_bytes=s, output_bytes=values, kv_bytes=kv, **common),
        *_search(c),
    ]


def _softmax_operations(c: _Columns) -> Any:
    """A score's; one constant for all needs no maximum, but rows that do not fit take both."""
    first = SOFTMAX_OPERATIONS - 1.0  # no maximum
    both = (first + SOFTMAX_OPERATIONS * c.recompute) / (1 + c.recompute)
    return np.where(c.unified_max > 0, both, SOFTMAX_OPERATIONS)


def _search(c: _Columns) -> list[Parts]:
    """Scores of the blocks among which a mask is chosen, where there is such a mask."""
    if not c.search_blocks.any():
        return []
    queries = c.batch * c.heads * c.query_block * c.head_dim
    keys = c.batch * c.kv_heads * c.key_block * c.head_dim * c.search_blocks
    search = c.parts(
        2 * queries * c.key_block * c.search_blocks,
        input_bytes=queries * c.activation_bytes,
        kv_bytes=keys * c.kv_bytes,
        is_attention=True,
        is_split=True,
    )
    return [search.at(c.search_blocks > 0)]


def _embedding(workload: Workload, kind: str) -> Parts:
    """A row a token; or, as GenZ counts prefill, a product of one-hot vectors with the table."""
    c = _of_kind(workload, "embedding")
    written = c.elements * c.activation_bytes
    if kind == "matmul" and c.is_prefill:
        return c.parts(
            2 * c.batch * c.query * c.parameters,
            weight_bytes=c.parameters * c.weight_bytes,
            output_bytes=written,
        )
    return c.parts(0.0, weight_bytes=c.elements * c.weight_bytes, output_bytes=written)


# --- common to both ----------------------------------------------------------------------------


def _linears(c: _Columns) -> Parts:
    """Linears, and the expected distinct experts of a mixture; K and V leave as cache entries."""
    tokens = c.tokens * c.experts_touched
    act = c.activation_bytes
    return c.parts(
        2 * tokens * c.cin * c.cout,
        weight_bytes=c.cin * c.cout * c.experts_touched * c.weight_bytes,
        input_bytes=tokens * c.cin * act,
        output_bytes=tokens * (c.cout - c.kv_cout) * act,
        kv_bytes=tokens * c.kv_cout * c.kv_bytes,
        is_split=True,
        fits_int8=_fits_int8(c, "weight") & _fits_int8(c, "activation"),
    )


def _pointwise(c: _Columns, operations: int, operands: int | None = None) -> Parts:
    read = c.inputs if operands is None else operands
    return c.parts(
        operations * c.elements,
        input_bytes=read * c.elements * c.activation_bytes,
        output_bytes=c.elements * c.activation_bytes,
    )


def _reduced_bytes(workload: Workload, linears: _Columns) -> Floats:
    """Bytes to all-reduce: after the last linear before each addition to the residual stream."""
    c = workload.columns
    reduced = np.zeros(len(workload))
    last = -1
    for i, (kind, function) in enumerate(zip(c["kind"], c["function"], strict=True)):
        if kind in ("linear", "experts"):
            last = i
        elif kind == "elementwise" and function == "add" and last >= 0:
            values = float(workload.batch) * workload.query * c["cout"][last]
            reduced[last] = values * c["activation_bits"][last] / 8
    return reduced[linears.row]


def _hidden(workload: Workload) -> int:
    """Width of the residual stream: that of the first norm."""
    widths = _of_kind(workload, "norm").elements
    return int(widths[0]) // (workload.batch * workload.query) if len(widths) else 0


def _fits_int8(c: _Columns, role: str) -> NDArray[np.bool_]:
    from plait.models.formats import get

    names, bits = c.of[f"{role}_format"], c.of[f"{role}_bits"]
    # A scale beside 8-bit codes makes more than 8 bits stored, not a wider multiplier.
    # What a codebook holds is FP16, however few bits its indices have.
    code_bits = [_code_bits(get(n)) if n else b for n, b in zip(names, bits, strict=True)]
    return np.array(code_bits, dtype=np.float64) <= 8


def _code_bits(fmt: Format) -> int:
    return fmt.code_bits if fmt.has_table else _HALF_BITS


def _all_fit_int8(workload: Workload, role: str) -> bool:
    kinds = ("attention",) if role == "kv" else ("linear", "experts")
    return bool(_fits_int8(_of_kind(workload, *kinds), role).all())
