"""Codes to bytes and back.

The bit order, here and in every memory image: code ``i`` of ``b`` bits occupies bits
``[i*b, (i+1)*b)`` of one little-endian stream; bit 0 of the stream is the least significant bit of
byte 0. The last byte is padded with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError

__all__ = ["check_codes", "code_dtype", "pack_codes", "packed_bytes", "unpack_codes"]

_CODES_PER_WORD = 8  # eight codes of b <= 8 bits fill exactly b bytes of one 64-bit word
_WORDS_PER_BLOCK = 1 << 16  # keeps the 64-bit temporaries within 4 MiB


def code_dtype(code_bits: int) -> type[np.unsignedinteger[Any]]:
    """The narrowest NumPy type that holds one unpacked code."""
    return np.uint8 if code_bits <= 8 else np.uint16 if code_bits <= 16 else np.uint32


def packed_bytes(count: int, code_bits: int) -> int:
    """Bytes that ``count`` codes take.

    >>> packed_bytes(3, 3)
    2
    """
    return -(-count * code_bits // 8)


def check_codes(codes: NDArray[Any], code_bits: int) -> None:
    """Refuse codes that are no integers of ``code_bits`` bits."""
    if codes.dtype.kind not in "iu":
        raise FormatError("codes are not integers", got=codes.dtype.name)
    if not codes.size:
        return
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >> code_bits:
        wrong = low if low < 0 else high
        raise FormatError("a code does not fit", got=wrong, expected=f"{code_bits} bits")


def pack_codes(codes: NDArray[np.integer[Any]], code_bits: int) -> NDArray[np.uint8]:
    """Pack codes, flattened in row-major order.

    >>> pack_codes(np.array([1, 2, 15]), 4).tolist()
    [33, 15]
    """
    flat = np.ascontiguousarray(codes).reshape(-1)
    check_codes(flat, code_bits)
    if code_bits in (8, 16):
        return flat.astype(f"<u{code_bits // 8}").view(np.uint8)
    if code_bits > 8:
        return np.packbits(_bits_of(flat, code_bits), bitorder="little")
    shifts = (np.arange(_CODES_PER_WORD) * code_bits).astype(np.uint64)
    packed = np.empty(-(-flat.size // _CODES_PER_WORD) * code_bits, dtype=np.uint8)
    step = _CODES_PER_WORD * _WORDS_PER_BLOCK
    for start in range(0, flat.size, step):
        block = flat[start : start + step]
        lanes = np.zeros((-(-block.size // _CODES_PER_WORD), _CODES_PER_WORD), dtype=np.uint64)
        lanes.reshape(-1)[: block.size] = block
        words = np.bitwise_or.reduce(lanes << shifts, axis=1).astype("<u8")
        first = start // _CODES_PER_WORD * code_bits
        chunk = words.view(np.uint8).reshape(-1, 8)[:, :code_bits].reshape(-1)
        packed[first : first + chunk.size] = chunk
    return packed[: packed_bytes(flat.size, code_bits)]


def unpack_codes(
    packed: NDArray[np.uint8], count: int, code_bits: int
) -> NDArray[np.unsignedinteger[Any]]:
    """Take ``count`` codes out of a packed stream, as a flat array.

    >>> unpack_codes(np.array([33, 15], dtype=np.uint8), 3, 4).tolist()
    [1, 2, 15]
    """
    flat = np.ascontiguousarray(packed, dtype=np.uint8).reshape(-1)
    needed = packed_bytes(count, code_bits)
    if flat.size != needed:
        raise FormatError(
            "packed codes of the wrong length",
            got=f"{flat.size} bytes",
            expected=f"{needed} bytes for {count} codes of {code_bits} bits",
        )
    if code_bits in (8, 16):
        return flat.view(f"<u{code_bits // 8}").astype(code_dtype(code_bits))
    if code_bits > 8:
        bits = np.unpackbits(flat, count=count * code_bits, bitorder="little")
        return _codes_of(bits.reshape(count, code_bits))
    shifts = (np.arange(_CODES_PER_WORD) * code_bits).astype(np.uint64)
    mask = np.uint64((1 << code_bits) - 1)
    codes = np.empty(-(-count // _CODES_PER_WORD) * _CODES_PER_WORD, dtype=np.uint8)
    step = code_bits * _WORDS_PER_BLOCK
    for start in range(0, flat.size, step):
        block = flat[start : start + step]
        lanes = np.zeros((-(-block.size // code_bits), 8), dtype=np.uint8)
        padded = np.zeros(lanes.shape[0] * code_bits, dtype=np.uint8)
        padded[: block.size] = block
        lanes[:, :code_bits] = padded.reshape(-1, code_bits)
        words = lanes.view("<u8")
        first = start // code_bits * _CODES_PER_WORD
        chunk = ((words >> shifts) & mask).astype(np.uint8).reshape(-1)
        codes[first : first + chunk.size] = chunk
    return codes[:count]


def _bits_of(codes: NDArray[Any], code_bits: int) -> NDArray[np.uint8]:
    """[codes, code_bits], the least significant bit first: codes wider than a byte."""
    raw = codes.astype("<u4").view(np.uint8).reshape(-1, 4)
    return np.unpackbits(raw, axis=1, bitorder="little")[:, :code_bits]


def _codes_of(bits: NDArray[np.uint8]) -> NDArray[np.unsignedinteger[Any]]:
    wide = np.zeros((bits.shape[0], 32), np.uint8)
    wide[:, : bits.shape[1]] = bits
    codes = np.packbits(wide, axis=1, bitorder="little").view("<u4")[:, 0]
    return codes.astype(code_dtype(bits.shape[1]))
