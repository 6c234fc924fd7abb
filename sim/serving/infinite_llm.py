"""Infinite-LLM (arXiv 2401.02669): where KV blocks go, by its greedy rule, and what that sends.

The idea is the paper's, which has no public code; the exact rule, with its rate in arbitrary units,
is fixed here so that a placement can be compared to the last block. The simulator's own policy
distributed_kv borrows on demand instead and takes its times from the devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["Holding", "Move", "place", "rate", "shard_bytes"]

_SMALLEST_GAIN = 1e-12
_SOFTMAX_BYTES = 4  # maximum and sum of a head come back in FP32


@dataclass(frozen=True, slots=True)
class Holding:
    """An instance's KV memory, in blocks.

    Attributes:
        capacity: in all.
        local: of its own requests, here.
        running: requests.
        waiting: blocks each waiting request needs, first come first.
        hosted: of other instances' requests.
        lent: of its own requests, elsewhere.
    """

    capacity: int
    local: int
    running: int
    waiting: tuple[int, ...] = ()
    hosted: int = 0
    lent: int = 0

    @property
    def free(self) -> int:
        """Blocks that nobody uses."""
        return self.capacity - self.local - self.hosted


@dataclass(frozen=True, slots=True)
class Move:
    """Blocks of a debtor that a creditor takes, and the requests that this admits."""

    debtor: int
    creditor: int
    blocks: int
    admitted: int


def rate(instance: Holding) -> float:
    """Tokens a unit of time: weights or GEMM, attention per block, remote queries per block lent.

    >>> rate(Holding(capacity=100, local=20, running=10))
    0.8333333333333334
    """
    if not instance.running:
        return 0.0
    outside = max(10.0, 0.5 * instance.running)
    attention = 0.1 * (instance.local + instance.hosted)
    return instance.running / (outside + attention + 0.02 * instance.lent)


def place(instances: Sequence[Holding]) -> tuple[list[Move], list[Holding]]:
    """Move blocks until no move makes the sum of rates larger.

    Debtors have waiting requests and host nothing; that with the fewest running requests goes
    first. Its creditor is the instance with the most free blocks that has lent none. Of all numbers
    of blocks the best is moved.
    """
    now = list(instances)
    moves: list[Move] = []
    while True:
        move = next((m for m in (_best(now, d) for d in _debtors(now)) if m), None)
        if move is None:
            return moves, now
        _apply(now, move)
        moves.append(move)


def shard_bytes(width: int, heads: int, value_bytes: float, shards: int = 2) -> float:
    """Bytes a query token and layer between shards: q there, partial output and softmax back.

    >>> shard_bytes(8192, 64, 2)
    33280
    """
    return (shards - 1) * (2 * width * value_bytes + 2 * heads * _SOFTMAX_BYTES)


def _debtors(instances: Sequence[Holding]) -> list[int]:
    found = [k for k, one in enumerate(instances) if one.waiting and not one.hosted]
    return sorted(found, key=lambda k: (instances[k].running, k))


def _best(instances: Sequence[Holding], debtor: int) -> Move | None:
    others = [k for k, one in enumerate(instances) if k != debtor and not one.lent]
    if not others:
        return None
    creditor = max(others, key=lambda k: (instances[k].free, -k))
    before = sum(map(rate, instances))
    best, gain = None, _SMALLEST_GAIN
    for blocks in range(1, min(instances[creditor].free, instances[debtor].local) + 1):
        tried = list(instances)
        move = _apply(tried, Move(debtor, creditor, blocks, 0))
        if sum(map(rate, tried)) - before > gain:
            best, gain = move, sum(map(rate, tried)) - before
    return best


def _apply(instances: list[Holding], move: Move) -> Move:
    """Move the blocks and admit what then fits; give the move with the requests admitted."""
    blocks, debtor = move.blocks, instances[move.debtor]
    debtor = replace(debtor, local=debtor.local - blocks, lent=debtor.lent + blocks)
    admitted = 0
    while debtor.waiting and debtor.waiting[0] <= debtor.free:
        debtor = replace(
            debtor,
            local=debtor.local + debtor.waiting[0],
            running=debtor.running + 1,
            waiting=debtor.waiting[1:],
        )
        admitted += 1
    creditor = instances[move.creditor]
    instances[move.creditor] = replace(creditor, hosted=creditor.hosted + blocks)
    instances[move.debtor] = debtor
    return replace(move, admitted=admitted)
