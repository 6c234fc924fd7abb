"""Sparse weights as words of the machine's memory: kept codes, masks, kept counts; and back.

A matrix [outputs, inputs] is cut into blocks of 16 x 16. In a block every output keeps the same
number n of its 16 weights (0, 2, 4, 8 or 16). For each group of 16 outputs memory holds:

- codes: block after block 16 n codes, output by output, inputs ascending, lowest bits first; 32
  codes (what the array takes a cycle) never cross a word, so a word holds 32, 64, 64 or 128 codes
  of 8, 4, 3 or 2 bits;
- masks: a word a block, bit 16 o + k set where output o keeps input k;
- kept: a byte a block, n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.compiler.core import WORD_BYTES
from plait.sim.compiler.kept import CODES_A_CYCLE, GROUPS_A_WORD, KEPT, WEIGHT_BITS, count_words
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = ["SparseMatrix", "group_image", "read_group"]


@dataclass(frozen=True, slots=True)
class SparseMatrix:
    """Integer weights with N:16 sparsity.

    Args:
        codes: int8 [outputs, inputs], 0 where a weight is not kept.
        mask: bool [outputs, inputs], the kept weights; None keeps all of them.
        bits: of a code: 8, 4, 3 or 2.
    """

    codes: NDArray[np.int8]
    mask: NDArray[np.bool_] | None
    bits: int

    def __post_init__(self) -> None:
        if self.bits not in WEIGHT_BITS:
            raise SpecError(
                "no weight format of the machine", where="bits", got=self.bits,
                expected=", ".join(map(str, WEIGHT_BITS)),
            )  # fmt: skip
        limit = 1 << (self.bits - 1)
        if self.codes.ndim != 2 or not self.codes.size:
            raise SpecError("not a matrix", where="codes", got=self.codes.shape)
        if self.codes.min() < -limit or self.codes.max() >= limit:
            raise SpecError(
                "a code does not fit", where="codes", got=int(np.abs(self.codes.astype(int)).max()),
                expected=f"{-limit} to {limit - 1}",
            )  # fmt: skip
        if self.mask is not None:
            self._check_mask(self.mask)

    def _check_mask(self, mask: NDArray[np.bool_]) -> None:
        if mask.shape != self.codes.shape:
            raise SpecError("not the shape of the codes", where="mask", got=mask.shape)
        if self.codes[~mask].any():
            raise SpecError("a weight that is not kept is not 0", where="mask")
        counts = self.padded_mask().sum(axis=-1)
        if not np.isin(counts, KEPT).all() or (counts != counts[:, :, :1]).any():
            raise SpecError(
                "the outputs of a 16 x 16 block must keep equally many weights",
                where="mask",
                expected=f"{', '.join(map(str, KEPT[:-1]))} or {KEPT[-1]} of {BLOCK}",
            )

    @property
    def groups(self) -> int:
        """Groups of 16 outputs."""
        return -(-self.codes.shape[0] // BLOCK)

    @property
    def k_blocks(self) -> int:
        """Blocks of 16 inputs."""
        return -(-self.codes.shape[1] // BLOCK)

    def blocks(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Cut an array of the matrix's shape, padded with 0: [groups, k blocks, output, input]."""
        padded = np.zeros((self.groups * BLOCK, self.k_blocks * BLOCK), values.dtype)
        padded[: values.shape[0], : values.shape[1]] = values
        cut = padded.reshape(self.groups, BLOCK, self.k_blocks, BLOCK)
        return cut.transpose(0, 2, 1, 3)

    def padded_mask(self) -> NDArray[np.bool_]:
        """Give the mask in blocks; outputs that pad a block keep what its first output keeps."""
        if self.mask is None:
            return np.ones((self.groups, self.k_blocks, BLOCK, BLOCK), bool)
        cut = np.array(self.blocks(self.mask), bool)
        real = self.codes.shape[0] - (self.groups - 1) * BLOCK
        cut[-1, :, real:] = cut[-1, :, :1]
        return cut

    @property
    def kept(self) -> NDArray[np.int64]:
        """Kept weights an output, int64 [groups, k blocks]."""
        return self.padded_mask().sum(axis=-1).max(axis=-1)


def group_image(
    matrix: SparseMatrix, group: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Give the words of codes, masks and kept counts of 16 outputs, each uint8 [words, 32]."""
    codes = matrix.blocks(matrix.codes)[group]
    mask = matrix.padded_mask()[group]
    kept = codes[mask]  # in the order of blocks, outputs, inputs
    bits = (kept[:, None].astype(np.int64) >> np.arange(matrix.bits) & 1).astype(np.uint8)
    groups = bits.reshape(-1, CODES_A_CYCLE * matrix.bits)
    per_word = GROUPS_A_WORD[matrix.bits]
    words = -(-len(groups) // per_word)
    padded = np.zeros((words * per_word, groups.shape[1]), np.uint8)
    padded[: len(groups)] = groups
    image = np.zeros((words, 8 * WORD_BYTES), np.uint8)
    image[:, : per_word * groups.shape[1]] = padded.reshape(words, per_word * groups.shape[1])
    masks = np.packbits(mask.reshape(len(mask), -1), axis=1, bitorder="little")
    counts = np.zeros(count_words(len(mask)) * WORD_BYTES, np.uint8)
    counts[: len(mask)] = mask.sum(axis=-1).max(axis=-1)
    return np.packbits(image, axis=1, bitorder="little"), masks, counts.reshape(-1, WORD_BYTES)


def read_group(
    codes: NDArray[np.uint8], masks: NDArray[np.uint8], bits: int
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Undo `group_image`: codes int8 and mask bool, both [16, inputs]."""
    mask = np.unpackbits(masks, axis=1, bitorder="little").astype(bool)
    blocks = mask.reshape(-1, BLOCK, BLOCK)
    per_word = GROUPS_A_WORD[bits]
    stream = np.unpackbits(codes, axis=1, bitorder="little")[:, : per_word * CODES_A_CYCLE * bits]
    digits = stream.reshape(-1, bits)[: int(blocks.sum())].astype(np.int64)
    values = digits @ (1 << np.arange(bits))
    values -= (values >> (bits - 1)) << bits
    dense = np.zeros(blocks.shape, np.int8)
    dense[blocks] = values
    inputs = BLOCK * len(blocks)
    order = (1, 0, 2)
    return (
        dense.transpose(order).reshape(BLOCK, inputs),
        blocks.transpose(order).reshape(BLOCK, inputs),
    )
