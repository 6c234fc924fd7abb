"""Read GGUF files: the header by hand with every length checked, tensors through `gguf`.

Takes a path; gives metadata and float32 arrays. The header comes from strangers: no count in it is
believed before it fits into the file, so memory stays in proportion to the file.
Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

from plait.errors import FormatError
from plait.files import reason

__all__ = ["GGUFFile", "GGUFTensor", "open_gguf"]

_SCALARS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4",
    6: "<f4", 7: "<u1", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
_BOOL, _STRING, _ARRAY = 7, 8, 9
_LONGEST_ARRAY = 1 << 22  # elements; the largest vocabularies have 2^18 tokens, merges twice that
_LARGEST_ALIGNMENT = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """Where a tensor lies in its file."""

    name: str
    kind: str
    """Storage, as `F32`, `Q4_1`, `Q8_0`."""
    shape: tuple[int, ...]
    """Rows first, as in torch."""
    offset: int
    """From the start of the file, in bytes."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """Metadata and tensor places of a GGUF file."""

    path: Path
    metadata: dict[str, Any]
    """Scalars, strings, lists of strings and numpy arrays, by key."""
    tensors: dict[str, GGUFTensor]

    def read(self, name: str) -> np.ndarray:
        """Dequantise one tensor: float32 of its shape."""
        tensor = self.tensors[name]
        raw = np.fromfile(self.path, dtype=np.uint8, count=tensor.size_bytes, offset=tensor.offset)
        kind = GGMLQuantizationType[tensor.kind]
        if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            rows = raw
        else:
            rows = raw.reshape(*tensor.shape[:-1], -1)
        try:
            return dequantize(rows, kind).reshape(tensor.shape)
        except NotImplementedError:
            raise FormatError(
                "cannot be dequantised", where=f"{self.path}: {name}", got=tensor.kind
            ) from None


def open_gguf(path: str | Path) -> GGUFFile:
    """Read the header of a GGUF file (version 2 or 3, little-endian)."""
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(path, _Cursor(data, str(path)))
    except OSError as error:
        raise FormatError(f"cannot be read: {reason(error)}", where=str(path)) from None
    except ValueError:  # an empty file cannot be mapped
        raise FormatError("empty, no GGUF file", where=str(path)) from None


class _Cursor:
    """Position in a mapped file; every step is checked against its end."""

    def __init__(self, data: mmap.mmap, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def fail(self, what: str, **details: Any) -> FormatError:
        return FormatError(what, where=self.where, **details)

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise self.fail(f"cut short or damaged: {count} bytes asked for at byte {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self, code: str) -> int:
        return struct.unpack("<" + code, self.take(struct.calcsize(code)))[0]

    def count(self, code: str, each: int, what: str) -> int:
        """Read a count of things that take at least ``each`` bytes."""
        number = self.integer(code)
        if number * each > len(self.data) - self.at:
            raise self.fail(f"{what} do not fit into the file", got=number)
        return number

    def string(self) -> str:
        try:
            return self.take(self.count("Q", 1, "characters of a text")).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"text before byte {self.at} is not UTF-8") from None


def _parse(path: Path, cursor: _Cursor) -> GGUFFile:
    if cursor.data[:4] != b"GGUF":
        raise cursor.fail("no GGUF file", got=cursor.data[:4], expected="b'GGUF' at its start")
    cursor.at = 4
    version = cursor.integer("I")
    if version not in (2, 3):
        raise cursor.fail("unknown version", got=version, expected="2 or 3, little-endian")
    tensor_count = cursor.count("Q", 24, "tensors")
    entries = cursor.count("Q", 13, "metadata entries")
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key = cursor.string()
        if key in metadata:
            raise cursor.fail("given twice", got=key)
        metadata[key] = _value(cursor, key, cursor.integer("I"))
    tensors = [_tensor(cursor) for _ in range(tensor_count)]
    return GGUFFile(path, metadata, _placed(cursor, tensors, metadata))


def _value(cursor: _Cursor, key: str, kind: int) -> Any:
    if kind == _STRING:
        return cursor.string()
    if kind == _ARRAY:
        return _array(cursor, key)
    if kind not in _SCALARS:
        raise cursor.fail("unknown type of value", got=kind, expected=f"a GGUF type for {key}")
    dtype = np.dtype(_SCALARS[kind])
    value = np.frombuffer(cursor.take(dtype.itemsize), dtype)[0].item()
    return bool(value) if kind == _BOOL else value


def _array(cursor: _Cursor, key: str) -> Any:
    kind = cursor.integer("I")
    if kind != _STRING and kind not in _SCALARS:
        raise cursor.fail(f"array of an unknown type in {key}", got=kind)
    each = 8 if kind == _STRING else np.dtype(_SCALARS[kind]).itemsize
    count = cursor.count("Q", each, f"elements of {key}")
    if count > _LONGEST_ARRAY:
        raise cursor.fail(f"too many elements of {key}", got=count, expected=f"{_LONGEST_ARRAY}")
    if kind == _STRING:
        return [cursor.string() for _ in range(count)]
    return np.frombuffer(cursor.take(count * each), _SCALARS[kind])


def _tensor(cursor: _Cursor) -> GGUFTensor:
    """Read a tensor's entry; its offset is still relative to the data part."""
    name = cursor.string()
    dimensions = cursor.integer("I")
    if not 1 <= dimensions <= 4:
        raise cursor.fail(f"tensor {name[:60]} has an absurd rank", got=dimensions)
    shape = tuple(cursor.integer("Q") for _ in range(dimensions))[::-1]
    try:
        kind = GGMLQuantizationType(cursor.integer("I"))
    except ValueError as error:
        raise cursor.fail(f"tensor {name[:60]}: {error}") from None
    block, block_bytes = GGML_QUANT_SIZES[kind]
    if shape[-1] % block:
        raise cursor.fail(
            f"tensor {name[:60]} has rows that are no multiple of {block}", got=shape[-1]
        )
    size_bytes = math.prod(shape) // block * block_bytes
    return GGUFTensor(name, kind.name, shape, cursor.integer("Q"), size_bytes)


def _placed(
    cursor: _Cursor, tensors: list[GGUFTensor], metadata: dict[str, Any]
) -> dict[str, GGUFTensor]:
    """Tensors by name with absolute offsets, after checking that all of them fit side by side."""
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= _LARGEST_ALIGNMENT:
        raise cursor.fail("absurd general.alignment", got=alignment)
    start = -(-cursor.at // alignment) * alignment
    space = len(cursor.data) - start
    placed: dict[str, GGUFTensor] = {}
    for tensor in tensors:
        if tensor.name in placed:
            raise cursor.fail("tensor given twice", got=tensor.name)
        if tensor.offset + tensor.size_bytes > space:
            raise cursor.fail(
                f"cut short: tensor {tensor.name[:60]} ends outside",
                got=f"{max(space, 0)} bytes of data",
                expected=f"{tensor.offset + tensor.size_bytes} or more",
            )
        placed[tensor.name] = GGUFTensor(
            tensor.name, tensor.kind, tensor.shape, start + tensor.offset, tensor.size_bytes
        )
    if sum(tensor.size_bytes for tensor in tensors) > space:
        raise cursor.fail("damaged: tensors overlap")
    return placed
