"""Plan: what a unit does, as loops: its instructions and its closed form are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from plait.sim.compiler.instruction import LoadTarget, MiscOperation, Path, Queue

__all__ = ["LARGEST_LENGTH", "Misc", "Nest", "Pass", "Transfer", "UnitPlan"]

LARGEST_LENGTH = (1 << 23) - 1
"""Bytes that the length of one LD or ST can say."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes of one core that move over a path."""

    size_bytes: float
    path: Path
    target: LoadTarget = LoadTarget.GLOBAL

    def rows(self, channels: int) -> list[tuple[int, float]]:
        """(channel, bytes) of its instructions: one a channel, more where a length is too long."""
        channels = channels if self.path == Path.ALL_CHANNELS else 1
        share = self.size_bytes / channels
        times = max(1, -(-int(share) // LARGEST_LENGTH))
        return [(c, share / times) for c in range(channels) for _ in range(times)]


@dataclass(frozen=True, slots=True)
class Misc:
    """One instruction of the vector unit: blocks of 16 elements, once or twice."""

    operation: MiscOperation
    k_blocks: int
    passes: int = 1


@dataclass(frozen=True, slots=True)
class Pass:
    """Vector work without a product: load, pass, store; what is absent is on chip."""

    load: Transfer | None
    misc: tuple[Misc, ...]
    store: Transfer | None


@dataclass(frozen=True, slots=True)
class Nest:
    """Products: for each group of outputs, for each piece of K: load, then multiply.

    Attributes:
        queue: MM or MV.
        pieces: K blocks of each piece.
        depth: pieces that are in the buffer at once.
        groups: groups of outputs, each 16 (MM) or those of an MV instruction.
        products: instructions that use a loaded piece: rows of MV, row tiles of MM.
        density: part of the weights kept.
        block_bytes: of one K block of a full group, places of kept weights left out.
        index_bytes: places of kept weights of that block.
        last_part: of the last group's outputs, how many there are really.
        path: of the weights.
        vector_bytes: of the vector for one K block, where it comes with every piece.
        enter: loads before the first group.
        period: groups after which `misc` and `store` follow.
        operand: load of what `misc` takes besides the products.
        misc: for each product of a group.
        store: of one period.
        has_bias, has_relu: flags of the products.
        repeats: the nest runs so often, one time after the other.
    """

    queue: Queue
    pieces: tuple[int, ...]
    depth: int
    groups: int
    block_bytes: float
    path: Path
    products: int = 1
    density: float = 1.0
    index_bytes: float = 0.0
    last_part: float = 1.0
    vector_bytes: float = 0.0
    enter: tuple[Transfer, ...] = ()
    period: int = 1
    operand: Transfer | None = None
    misc: tuple[Misc, ...] = ()
    store: Transfer | None = None
    has_bias: bool = False
    has_relu: bool = False
    repeats: int = 1

    @property
    def loads(self) -> int:
        """Pieces loaded in one run."""
        return self.groups * len(self.pieces)

    @property
    def periods(self) -> int:
        """How often `misc` and `store` follow in one run."""
        return -(-self.groups // self.period)


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One operation of a model with what is fused into it, as one core does it.

    Attributes:
        name, row, count: as of `plait.sim.compiler.unit.Unit`.
        parts: run one after the other.
        leave: store at the end.
        streamed: what the products load: "weight_bytes" or "kv_bytes".
    """

    name: str
    row: int
    count: int
    parts: tuple[Nest | Pass, ...]
    leave: Transfer | None = None
    streamed: str = "weight_bytes"
