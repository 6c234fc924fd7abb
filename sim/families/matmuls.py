"""Workload -> the matrix multiplications of an array of PEs.

An attention op becomes two multiplications a KV head, with the keys and values as weights.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError, SpecError

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = ["Matmuls"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
_LARGEST_COUNT = 2.0**62  # half of what an int64 holds


@dataclass(frozen=True, slots=True)
class Matmuls:
    """Matrix multiplications, one an entry; every array is [matmuls].

    Attributes:
        row: which op of the workload it belongs to.
        count: how often it runs in the step.
        inputs, outputs, tokens: of one multiplication.
        batch: independent multiplications of these sizes.
        weight_bits, activation_bits: stored bits a value, scales included.
        code_bits: bits of a weight's code alone.
        group_size: weights that share a scale.
        terms: cycles a bit-serial PE takes for one weight.
        own_weights: each of the `batch` multiplications reads its own weights.
        is_linear: the weights are the model's, not keys or values.
    """

    row: Integers
    count: Integers
    inputs: Integers
    outputs: Integers
    tokens: Integers
    batch: Integers
    weight_bits: Floats
    code_bits: Integers
    group_size: Integers
    activation_bits: Floats
    terms: Integers
    own_weights: NDArray[np.bool_]
    is_linear: NDArray[np.bool_]

    @classmethod
    def of(cls, workload: Workload, by_sequence: bool, group_size: int = 128) -> Matmuls:
        """Collect the multiplications of a step.

        Args:
            by_sequence: in prefill, run each sequence by itself (the published simulator) rather
                than all tokens of the batch as one multiplication.
            group_size: weights that share a scale, where the workload gives bits alone.
        """
        c = workload.columns
        is_linear = np.isin(c["kind"], ("linear", "experts"))
        linear = np.flatnonzero(is_linear & (c["tokens"] > 0))  # experts may be unvisited
        attention = np.flatnonzero(c["kind"] == "attention")
        parts = [
            _linears(workload, linear, by_sequence, group_size),
            _attention(workload, attention, group_size, keys_out=True),
            _attention(workload, attention, group_size, keys_out=False),
            _search(workload, attention, group_size),
        ]
        order = np.argsort(np.concatenate([part["row"] for part in parts]), kind="stable")
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{n: np.concatenate([part[n] for part in parts])[order] for n in names})

    @property
    def operations(self) -> Integers:
        """Multiply-adds times two, of every repetition."""
        return 2 * self.count * self.batch * self.inputs * self.outputs * self.tokens

    def check_size(self, largest_per_mac: float) -> None:
        """Refuse a step whose counts would overflow 64 bits.

        Args:
            largest_per_mac: the largest thing counted, per multiply-add.
        """
        sizes = (self.count, self.batch, self.inputs, self.outputs, self.tokens)
        macs = float(np.prod([size.astype(np.float64) for size in sizes], axis=0).sum())
        if macs * largest_per_mac > _LARGEST_COUNT:
            raise SpecError(
                "this step is too large to count",
                where="batch, context",
                got=macs,
                expected="fewer multiply-adds",
            )

    def sum_by_row(self, values: NDArray[Any], rows: int) -> NDArray[Any]:
        """Add [matmuls] up to [rows of the workload]."""
        total = np.zeros(rows, dtype=values.dtype)
        np.add.at(total, self.row, values)
        return total

    def merged(self) -> Matmuls:
        """Keep equal multiplications once, their counts added; ``row`` is that of the first."""
        same = [f.name for f in dataclasses.fields(self) if f.name not in ("row", "count")]
        keys = np.stack([getattr(self, name).astype(np.float64) for name in same], axis=1)
        _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        kept = {f.name: getattr(self, f.name)[first] for f in dataclasses.fields(self)}
        kept["count"] = np.bincount(group.ravel(), weights=self.count).astype(np.int64)
        return Matmuls(**kept)


def _linears(
    workload: Workload, row: Integers, by_sequence: bool, group_size: int
) -> dict[str, NDArray[Any]]:
    c = {name: column[row] for name, column in workload.columns.items()}
    experts = c["kind"] == "experts"
    sequences = workload.batch if by_sequence and workload.phase == "prefill" else 1
    # Expected figures of a mixture of experts are rounded up: hardware runs whole experts.
    together = float(workload.batch // sequences * workload.query)
    padded = np.ceil(together / c["rows_multiple"]) * c["rows_multiple"]
    tokens = np.minimum(np.where(experts, np.ceil(c["tokens"]), padded), _LARGEST_COUNT)
    batch = np.where(experts, np.ceil(c["experts_touched"]), sequences)
    bits = c["weight_bits"].astype(np.float64)
    return {
        "row": row,
        "count": c["count"].astype(np.int64),
        "inputs": c["cin"].astype(np.int64),
        "outputs": c["cout"].astype(np.int64),
        "tokens": tokens.astype(np.int64),
        "batch": batch.astype(np.int64),
        **_weights(c["weight_format"], bits),
        "group_size": np.where(c["group_size"] > 0, c["group_size"], group_size),
        "activation_bits": c["activation_bits"].astype(np.float64),
        "own_weights": experts,
        "is_linear": np.ones(len(row), dtype=bool),
    }


def _attention(
    workload: Workload, row: Integers, group_size: int, keys_out: bool
) -> dict[str, NDArray[Any]]:
    """Scores (head_dim -> keys) or their product with the values (keys -> head_dim)."""
    c = {name: column[row] for name, column in workload.columns.items()}
    head_dim, keys = c["head_dim"].astype(np.int64), c["keys"].astype(np.int64)
    # An array computes all keys that are read; behind a mask of sinks or blocks, only those seen.
    masked = (c["sinks"] > 0) | (c["kept"] > 0)
    keys = np.where(masked, -(-c["pairs"] // workload.query), keys).astype(np.int64)
    bits = c["kv_bits"].astype(np.float64)
    return {
        "row": row,
        "count": c["count"].astype(np.int64),
        "inputs": head_dim if keys_out else keys,
        "outputs": keys if keys_out else head_dim,
        "tokens": (c["heads"] // np.maximum(c["kv_heads"], 1) * workload.query).astype(np.int64),
        "batch": (workload.batch * c["kv_heads"]).astype(np.int64),
        **_weights(c["kv_format"], bits),
        "group_size": np.full(len(row), group_size, dtype=np.int64),
        "activation_bits": c["activation_bits"].astype(np.float64),
        "own_weights": np.ones(len(row), dtype=bool),
        "is_linear": np.zeros(len(row), dtype=bool),
    }


def _search(workload: Workload, row: Integers, group_size: int) -> dict[str, NDArray[Any]]:
    """Scores of the blocks of keys among which a mask is chosen.

    One multiplication a halving: two blocks for each that will be kept, gathered together.
    """
    row = row[workload.columns["search_blocks"][row] > 0]
    c = {name: column[row] for name, column in workload.columns.items()}
    scores = _attention(workload, row, group_size, keys_out=True)
    group = c["heads"] // np.maximum(c["kv_heads"], 1)
    gathered = 2 * c["kept"].astype(np.int64)
    halvings = -(-c["search_blocks"] * c["key_block"] // gathered)
    return scores | {
        "outputs": gathered,
        "tokens": (group * c["query_block"]).astype(np.int64),
        "batch": (workload.batch * c["kv_heads"] * halvings).astype(np.int64),
    }


def _weights(formats: NDArray[np.object_], bits: Floats) -> dict[str, NDArray[Any]]:
    """Stored bits, code bits and terms of weights."""
    pairs = [_code_bits_and_terms(name, b) for name, b in zip(formats, bits, strict=True)]
    code_bits, terms = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return {"weight_bits": bits, "code_bits": code_bits, "terms": terms}


def _code_bits_and_terms(name: str, bits: float) -> tuple[int, int]:
    """A format's own; bare bits, and formats without a table of terms (fp16, asymmetric integers),
    are charged a term for every two bits, as the published simulator charges everything. Codes of
    a codebook become FP16, and those of DGQ INT8, in a decode unit, which is costed apart."""
    from plait.models.formats import get

    if not name:
        return int(bits), -(-int(bits) // 2)
    found = get(name)
    if not found.has_table:
        return math.ceil(bits), 1
    if found.decode_unit == "expander":
        return found.code_bits, get("int8").term_count
    try:
        return found.code_bits, found.term_count
    except FormatError:
        return found.code_bits, -(-found.code_bits // 2)
