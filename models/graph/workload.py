"""A Workload: a Graph bound to a phase and sizes, one row an op.

Takes a Graph, a phase, a batch, a context and number formats; gives the table that every cost
model reads. Next: plait.sim.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from plait.errors import SpecError, unknown_name
from plait.models.graph.assign import assign_formats
from plait.models.graph.ops import PREVIOUS, Op

if TYPE_CHECKING:
    import pandas as pd

    from plait.models.graph.graph import Graph
    from plait.models.llm.config import LLMShape

__all__ = ["PHASES", "Workload", "bind", "expected_experts", "expert_capacity"]

PHASES = ("prefill", "decode")
_LEAST_CAPACITY = 4
_LARGEST = 2**40  # more tokens than any machine holds: a typing mistake, not a size


@dataclass(frozen=True)
class Workload:
    """What one step of a model asks of a machine.

    Attributes:
        model: the graph's name.
        phase: "prefill" (all tokens of the prompt at once) or "decode" (one token a sequence).
        batch: sequences.
        query: tokens a sequence in this step: ``context`` in prefill, 1 in decode.
        context: tokens attended to, the new ones included.
        columns: name -> array [ops]; the columns are listed in `COLUMNS`.
        shape: the decoder's shape if the graph is a regular decoder, else None.

    >>> from plait.models.graph import Graph, Op
    >>> graph = Graph("toy", (Op("lm_head", "linear", cin=8, cout=32, is_output=True),))
    >>> graph.bind("decode", batch=4, context=16).table[["op", "tokens", "cin", "cout"]].values
    array([['lm_head', 4.0, 8, 32]], dtype=object)
    """

    model: str
    phase: str
    batch: int
    query: int
    context: int
    columns: Mapping[str, np.ndarray]
    shape: LLMShape | None = None

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns as a DataFrame, one row an op (of ``count`` layers)."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns["op"])

    def labelled(self, label: str) -> Workload:
        """Give the same with ``label`` before the name of every op."""
        names = np.array([f"{label}{name}" for name in self.columns["op"]], dtype=object)
        inputs = self.columns["sources"]
        sources = np.fromiter((_labelled(paths, label) for paths in inputs), object, len(inputs))
        return dataclasses.replace(self, columns={**self.columns, "op": names, "sources": sources})

    @classmethod
    def join(cls, workloads: Sequence[Workload], context: int) -> Workload:
        """Put the rows of several steps that are one together, in their order."""
        first = workloads[0]
        columns = {
            name: np.concatenate([workload.columns[name] for workload in workloads])
            for name in first.columns
        }
        query = context if first.phase == "prefill" else 1
        return dataclasses.replace(first, columns=columns, context=context, query=query, shape=None)

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False)


def _labelled(paths: tuple[str, ...], label: str) -> tuple[str, ...]:
    """Put a label before every path, behind the mark of the layer before."""
    marks = [PREVIOUS if path.startswith(PREVIOUS) else "" for path in paths]
    bare = [path.removeprefix(PREVIOUS) for path in paths]
    return tuple(f"{mark}{label}{path}" for mark, path in zip(marks, bare, strict=True))


@dataclass(frozen=True, slots=True)
class _Sizes:
    batch: int
    query: int
    context: int


COLUMNS: dict[str, Callable[[Op, _Sizes], Any]] = {
    "op": lambda op, s: op.path,
    "kind": lambda op, s: op.kind,
    "function": lambda op, s: op.function,
    "count": lambda op, s: op.count,
    "batch": lambda op, s: s.batch,
    "query": lambda op, s: s.query,
    "context": lambda op, s: s.context,
    "tokens": lambda op, s: _tokens(op, s) if op.has_weight else float(_rows(op, s)),
    "cin": lambda op, s: op.cin,
    "cout": lambda op, s: op.cout,
    "heads": lambda op, s: op.heads,
    "kv_heads": lambda op, s: op.kv_heads,
    "head_dim": lambda op, s: op.head_dim,
    "keys": lambda op, s: _again(op, _keys(op, s)),
    "cached": lambda op, s: s.context if op.kept else _keys(op, s),
    "pairs": lambda op, s: _again(op, _pairs(op, s)),
    "search_blocks": lambda op, s: _search(op, s),
    "window": lambda op, s: op.window,
    "sinks": lambda op, s: op.sinks,
    "kept": lambda op, s: op.kept,
    "query_block": lambda op, s: min(op.query_block, s.query),
    "key_block": lambda op, s: op.key_block,
    "unified_max": lambda op, s: op.unified_max,
    "recompute": lambda op, s: op.recompute,
    "elements": lambda op, s: _rows(op, s) * op.width,
    "inputs": lambda op, s: op.operands,
    "experts": lambda op, s: op.experts,
    "experts_active": lambda op, s: op.experts_active,
    "experts_touched": lambda op, s: _touched(op, s),
    "rows_multiple": lambda op, s: op.rows_multiple,
    "kv_cout": lambda op, s: op.kv_cout,
    "writes_kv": lambda op, s: op.kv_cout > 0,
    "is_output": lambda op, s: op.is_output,
    "has_bias": lambda op, s: op.has_bias,
    "causal": lambda op, s: op.causal,
    "parameters": lambda op, s: op.parameters,
}
"""Column -> its value for one execution of an op.

Beyond the op's own fields:
    tokens: rows of the matrix product, batch included; for ``experts`` the expected rows of each
        expert that is touched.
    keys: keys a sequence reads (attention); less than ``context`` under a mask.
    cached: keys a sequence keeps in its cache (attention).
    pairs: (query, key) pairs of one sequence and head, after every mask (attention).
    search_blocks: blocks of ``key_block`` keys that one sequence and KV head scores, each against
        ``query_block`` tokens, to choose the ``kept`` keys; an upper bound (attention).
    elements: numbers of the output (norm, activation, elementwise, rope, embedding, topk).
    inputs: activation tensors read.
    sources: a tuple of the paths of the ops that make them, which `plait.models.graph.ops.PREVIOUS`
        marks where they are of the layer before.
    experts_touched: how many weight matrices this step reads: the expected number of distinct
        experts for ``experts``, 1 for ``linear``, else 0. So multiply-adds of both kinds are
        ``tokens * cin * cout * experts_touched``.
    weight_bits, activation_bits, kv_bits: true storage bits a value, with the format's overhead;
    weight_format, activation_format, kv_format, group_size: names, or '' where bits were given.
"""


def bind(
    graph: Graph,
    phase: str,
    batch: int = 1,
    context: int = 1024,
    formats: object = None,
    defaults: object = None,
) -> Workload:
    """Bind a graph to sizes and formats.

    Args:
        phase: "prefill" or "decode".
        batch: sequences.
        context: tokens attended to, the new one included; in prefill the prompt's length.
        formats: see `plait.models.graph.assign.assign_formats`; wins over the formats that the
            graph keeps.
        defaults: the same, for what neither ``formats`` nor the graph states (a machine's preset);
            what it leaves open is fp16.
    """
    if phase not in PHASES:
        raise SpecError(unknown_name("phase", phase, PHASES), where="phase")
    batch, context = _size("batch", batch), _size("context", context)
    sizes = _Sizes(batch, context if phase == "prefill" else 1, context)
    ops, assigned = assign_formats(graph, formats, defaults)
    columns = {name: np.array([value(op, sizes) for op in ops]) for name, value in COLUMNS.items()}
    columns["op"] = np.array([graph.display_name(op) for op in ops], dtype=object)
    columns["sources"] = np.fromiter((op.inputs for op in ops), object, len(ops))
    for name in ("kind", "function"):
        columns[name] = columns[name].astype(object)
    return Workload(graph.name, phase, batch, sizes.query, context, columns | assigned, graph.shape)


def expected_experts(experts: int, active: float, tokens: float) -> float:
    """Expected number of distinct experts that ``tokens`` rows touch.

    Each row draws ``active`` of ``experts`` uniformly, rows are independent:
    E * (1 - (1 - k/E)^tokens).

    >>> expected_experts(8, 2, 1)
    2.0
    """
    return experts * (1.0 - (1.0 - active / experts) ** tokens)


def _size(name: str, value: object) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not 1 <= value <= _LARGEST:  # type: ignore[operator]
        raise SpecError(
            f"{name} must be a whole number", where=name, got=value, expected="1 or more"
        )
    return int(value)  # type: ignore[call-overload]


def _rows(op: Op, sizes: _Sizes) -> float:
    rows = {
        "tokens": sizes.batch * sizes.query,
        "sequences": sizes.batch,
        "positions": sizes.query,
        "routed": sizes.batch * sizes.query * op.experts_active,
        "once": 1,
    }
    return rows[op.rows]


def _touched(op: Op, sizes: _Sizes) -> float:
    if op.kind == "experts":
        return expected_experts(op.experts, op.experts_active, sizes.batch * sizes.query)
    return float(op.kind == "linear")


def _tokens(op: Op, sizes: _Sizes) -> float:
    rows = float(_rows(op, sizes) * op.rows_per_token)
    if op.kind == "experts":
        routed = sizes.batch * sizes.query * op.experts_active
        touched = _touched(op, sizes)
        rows = routed / touched if touched else 0.0
        if op.capacity:
            tokens = sizes.batch * sizes.query
            rows = expert_capacity(op.experts, op.experts_active, tokens, op.capacity)
    multiple = op.rows_multiple
    return float(math.ceil(rows / multiple) * multiple) if multiple > 1 else rows


def expert_capacity(experts: int, active: float, tokens: float, factor: float) -> float:
    """Rows an expert has room for: ceil(factor * tokens * k / E), at least 4; more are dropped.

    >>> expert_capacity(8, 2, 100, 1.25)
    32.0
    """
    return float(max(math.ceil(factor * tokens * active / experts), _LEAST_CAPACITY))


def _keys(op: Op, sizes: _Sizes) -> int:
    if op.kind != "attention":
        return 0
    if not op.window:
        return sizes.context
    reach = op.sinks + op.kept + op.window
    if op.kept and sizes.query == 1:
        return _searched_pairs(op, sizes)
    return min(sizes.context, reach + sizes.query - 1)


def _pairs(op: Op, sizes: _Sizes) -> int:
    """Sum over queries of the keys each sees.

    Query i (0-based) of ``query`` sits at place context - query + i and sees the keys up to its
    own place if causal, the last ``window`` and the first ``sinks`` of these if there is a window.
    """
    if op.kind != "attention":
        return 0
    if op.kept:
        return _searched_pairs(op, sizes)
    if not op.causal:
        return sizes.query * (
            min(sizes.context, op.window + op.sinks) if op.window else sizes.context
        )
    first, last = sizes.context - sizes.query + 1, sizes.context
    window = op.window + op.sinks or last
    growing = max(0, min(last, window) - first + 1)  # queries that see fewer than window keys
    return growing * (2 * first + growing - 1) // 2 + (sizes.query - growing) * window


def _again(op: Op, count: int) -> int:
    """Count what is expected to be computed a second time."""
    return count + math.ceil(op.recompute * count)


def _searched_pairs(op: Op, sizes: _Sizes) -> int:
    """Pairs of a block-sparse mask: sinks, kept and window blocks, up to each query's place."""
    place, blocks = _query_places(op, sizes)
    seen = np.minimum(place, blocks.first * op.key_block)
    seen += np.minimum(blocks.candidates, op.kept // op.key_block) * op.key_block
    seen += np.maximum(place - blocks.window * op.key_block, 0)
    return int(np.where(blocks.candidates * op.key_block <= op.kept, place, seen).sum())


def _search(op: Op, sizes: _Sizes) -> int:
    """Branches scored: at most two a kept block and halving of the largest group, every block."""
    if op.kind != "attention" or not op.kept:
        return 0
    _, blocks = _query_places(op, sizes)
    candidates = blocks.candidates[:: op.query_block] if sizes.query > 1 else blocks.candidates
    kept = op.kept // op.key_block
    halvings = np.ceil(np.log2(np.maximum(-(-candidates // kept), 1)))
    first = np.minimum(2 * kept, candidates)
    return int(np.where(candidates > kept, first + 2 * kept * (halvings - 1), 0).sum())


class _Blocks(NamedTuple):
    """Key blocks of each query: where sinks end, where its window begins, and how many between."""

    first: np.ndarray
    window: np.ndarray
    candidates: np.ndarray


def _query_places(op: Op, sizes: _Sizes) -> tuple[np.ndarray, _Blocks]:
    """Keys each query sees under the causal mask, and its block's key blocks."""
    place = np.arange(sizes.context - sizes.query + 1, sizes.context + 1)
    end = place
    if sizes.query > 1:  # a query of a prompt shares the end of its block
        end = np.minimum(-(-place // op.query_block) * op.query_block, sizes.context)
    visible = -(-end // op.key_block)
    first = np.minimum(op.sinks // op.key_block, visible)
    window = np.maximum(first, visible - op.window // op.key_block)
    return place, _Blocks(first, window, window - first)
