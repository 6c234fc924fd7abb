"""How the codes of a matrix, and the places of the weights that pruning kept, lie in memory.

Codes: one stream in the order of formats.packing; vector codes (VPTQ) begin a 32-bit word with
every row; columns of two widths (``int2-int4``) are one word a row and column group with a second
array for the upper half of the wide ones. A pruned matrix stores the kept codes only.

Places: kept values stand in ascending column order inside each block of 16 inputs. ``index``
stores the column of each, 4 bits; ``mask`` stores 16 bits for 16 weights, bit i = column i. Both
store how many of 16 a 16 x 16 block keeps in each row, a byte a block, if that is one number for
its rows (always so after plait.models.quantize.sparse).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models.formats import Format, pack_codes, unpack_codes

__all__ = [
    "BLOCK",
    "Layout",
    "code_bits_stored",
    "pack_matrix",
    "pack_positions",
    "position_bits",
    "unpack_kept",
    "unpack_matrix",
]

Layout = Literal["index", "mask"]
BLOCK = 16
"""Edge of a sparsity block, in outputs and inputs."""
_INDEX_BITS = 4
_WORD = 32


def code_bits_stored(
    fmt: Format,
    codes: NDArray[Any],
    kept: NDArray[np.bool_] | None,
    extras: Mapping[str, NDArray[Any]],
) -> int:
    """Bits of the codes of a matrix as stored."""
    if fmt.decoder == "vector":
        return codes.shape[0] * _WORD * -(-codes.shape[1] * fmt.code_bits // _WORD)
    if fmt.decoder == "two_four":
        wide = int(extras["wide_groups"].size)
        return _WORD * codes.shape[0] * (codes.shape[1] // BLOCK + wide)
    return fmt.code_bits * (codes.size if kept is None else int(kept.sum()))


def position_bits(kept: NDArray[np.bool_], layout: Layout) -> int:
    """Bits of the places of kept weights, the byte of each block included."""
    blocks = -(-kept.shape[0] // BLOCK) * -(-kept.shape[1] // BLOCK)
    places = _INDEX_BITS * int(kept.sum()) if layout == "index" else kept.size
    return places + 8 * blocks


def pack_matrix(
    fmt: Format,
    codes: NDArray[Any],
    kept: NDArray[np.bool_] | None,
    extras: Mapping[str, NDArray[Any]],
) -> NDArray[np.uint8]:
    """The codes of a matrix as bytes."""
    if fmt.decoder == "vector":
        bits = -(-codes.shape[1] * fmt.code_bits // _WORD) * 4
        rows = [pack_codes(row, fmt.code_bits) for row in codes]
        return np.concatenate([np.pad(row, (0, bits - row.size)) for row in rows])
    if fmt.decoder == "two_four":
        main, side = two_four_words(codes, extras["wide_groups"])
        return np.concatenate([main.reshape(-1), side.reshape(-1)]).astype("<u4").view(np.uint8)
    return pack_codes(codes if kept is None else codes[kept], fmt.code_bits)


def unpack_matrix(
    fmt: Format,
    packed: NDArray[np.uint8],
    shape: tuple[int, int],
    kept: NDArray[np.bool_] | None,
    extras: Mapping[str, NDArray[Any]],
) -> NDArray[Any]:
    """The inverse of ``pack_matrix``."""
    rows, columns = fmt.code_shape(*shape)
    if fmt.decoder == "vector":
        row_bytes = -(-columns * fmt.code_bits // 8)
        words = packed.reshape(rows, -(-columns * fmt.code_bits // _WORD) * 4)
        return np.stack([unpack_codes(row[:row_bytes], columns, fmt.code_bits) for row in words])
    if fmt.decoder == "two_four":
        return _two_four_codes(packed, rows, columns, extras["wide_groups"])
    if kept is None:
        return unpack_codes(packed, rows * columns, fmt.code_bits).reshape(rows, columns)
    values = unpack_codes(packed, int(kept.sum()), fmt.code_bits)
    codes = np.zeros(shape, values.dtype)
    codes[kept] = values
    return codes


def pack_positions(kept: NDArray[np.bool_], layout: Layout) -> dict[str, NDArray[np.uint8]]:
    """The places of kept weights: ``block_counts``, and ``kept_index`` or ``kept_mask``."""
    counts = _blocks(kept).sum(axis=3)
    if (counts != counts[:, :, :1]).any() and layout == "index":
        raise FormatError(
            "rows of a block keep different numbers of weights",
            where="kept",
            expected="one number in each 16 x 16 block, or the mask layout",
        )
    parts = {"block_counts": counts[:, :, 0].astype(np.uint8)}
    if layout == "index":
        columns = np.nonzero(kept)[1] % BLOCK
        return parts | {"kept_index": pack_codes(columns.astype(np.uint8), _INDEX_BITS)}
    return parts | {"kept_mask": pack_codes(kept.astype(np.uint8), 1)}


def unpack_kept(
    parts: Mapping[str, NDArray[Any]], shape: tuple[int, int]
) -> tuple[NDArray[np.bool_] | None, Layout]:
    """The kept weights as bool [outputs, inputs], and their layout; None if none are pruned."""
    if "kept_mask" in parts:
        mask = unpack_codes(parts["kept_mask"], shape[0] * shape[1], 1)
        return mask.reshape(shape).astype(np.bool_), "mask"
    if "kept_index" not in parts:
        return None, "mask"
    counts = np.repeat(parts["block_counts"], BLOCK, axis=0)[: shape[0]]  # [outputs, blocks]
    index = unpack_codes(parts["kept_index"], int(counts.sum()), _INDEX_BITS)
    flat = counts.reshape(-1)
    row, block = np.divmod(np.repeat(np.arange(flat.size), flat), counts.shape[1])
    kept = np.zeros(shape, np.bool_)
    kept[row, block * BLOCK + index] = True
    return kept, "index"


def two_four_words(
    codes: NDArray[Any], wide_groups: NDArray[Any]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The words of columns of two widths: main [outputs, groups], side [outputs, wide groups].

    A main word holds 16 codes of 2 bits, or the first 8 of a wide group; a side word the other 8.
    """
    lanes = codes.reshape(codes.shape[0], -1, BLOCK).astype(np.uint32)
    main = (lanes << (2 * np.arange(BLOCK, dtype=np.uint32))).sum(axis=2, dtype=np.uint32)
    wide = lanes[:, wide_groups]
    shifts = 4 * np.arange(BLOCK // 2, dtype=np.uint32)
    main[:, wide_groups] = (wide[..., :8] << shifts).sum(axis=2, dtype=np.uint32)
    return main, (wide[..., 8:] << shifts).sum(axis=2, dtype=np.uint32)


def _two_four_codes(
    packed: NDArray[np.uint8], rows: int, columns: int, wide_groups: NDArray[Any]
) -> NDArray[np.uint8]:
    words = packed.view("<u4")
    groups, wide = columns // BLOCK, wide_groups.size
    main = words[: rows * groups].reshape(rows, groups)
    side = words[rows * groups :].reshape(rows, wide)
    lanes = ((main[..., np.newaxis] >> (2 * np.arange(BLOCK, dtype=np.uint32))) & 3).astype(
        np.uint8
    )
    shifts = 4 * np.arange(BLOCK // 2, dtype=np.uint32)
    halves = [(part[..., np.newaxis] >> shifts) & 15 for part in (main[:, wide_groups], side)]
    lanes[:, wide_groups] = np.concatenate(halves, axis=2).astype(np.uint8)
    return lanes.reshape(rows, columns)


def _blocks(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[row blocks, column blocks, 16, 16]; edges are padded with the last row, and with False."""
    rows, columns = (-size % BLOCK for size in kept.shape)
    padded = np.pad(np.pad(kept, ((0, rows), (0, 0)), mode="edge"), ((0, 0), (0, columns)))
    shape = padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK
    return padded.reshape(shape).transpose(0, 2, 1, 3)
