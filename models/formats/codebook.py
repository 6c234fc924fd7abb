"""Formats whose tensors bring their own codebook: palettes, vector and additive codebooks, and
columns of two widths.

A code is an index; what it means is stored with each tensor. Names carry the sizes:
``palette3`` (8 values), ``vptq-v6-k4096`` (vectors of 6 outputs, 4096 entries), with ``-r256`` for
a second codebook of the residual, ``aqlm-2x8-g8`` (two codebooks of 2^8 entries, vectors of 8
inputs). Any such name within the bounds below is a format; the ones of the papers are listed.
Code layout: ``vptq`` residual index << index bits | index; ``aqlm`` its codebooks in order.

Source: eDKM, arXiv 2309.00964; VPTQ, arXiv 2409.17066; AQLM, arXiv 2401.06118; columns of
two widths, arXiv 2311.16442.
"""

from __future__ import annotations

import re

import numpy as np

from plait.models.formats.base import Format

__all__ = ["FORMATS", "parse"]

_NO_TABLE = np.empty((1, 0))
_MOST_INDEX_BITS = 16
_LONGEST_VECTOR = 32


def _palette(bits: int) -> Format:
    return Format(
        name=f"palette{bits}",
        code_bits=bits,
        table=_NO_TABLE,
        ties_even=(True,),
        scale_rule="none",
        decoder="palette",
        books=(1 << bits,),
        default_group_size="tensor",
        summary=f"indices of {bits} bits into FP16 values of the tensor's own (eDKM)",
    )


def _vector(outputs: int, entries: int, residual: int) -> Format:
    index_bits = [(n - 1).bit_length() for n in (entries, residual) if n]
    suffix = f"-r{residual}" if residual else ""
    return Format(
        name=f"vptq-v{outputs}-k{entries}{suffix}",
        code_bits=sum(index_bits),
        table=_NO_TABLE,
        ties_even=(True,),
        scale_rule="none",
        decoder="vector",
        vector=(outputs, 1),
        books=(entries, residual) if residual else (entries,),
        default_group_size="channel",
        summary=f"{entries} vectors of {outputs} outputs"
        + (f" plus one of {residual} residuals" if residual else "")
        + " (VPTQ)",
    )


def _additive(books: int, index_bits: int, inputs: int) -> Format:
    return Format(
        name=f"aqlm-{books}x{index_bits}-g{inputs}",
        code_bits=index_bits,
        table=_NO_TABLE,
        ties_even=(True,),
        scale_rule="row_norm",
        decoder="additive",
        vector=(1, inputs),
        books=(1 << index_bits,) * books,
        default_group_size="channel",
        summary=f"sum of {books} vectors of {inputs} inputs, {1 << index_bits} to choose from each"
        " (AQLM)",
    )


def parse(name: str) -> Format | None:
    """The format that a name with sizes in it means; None if it means none.

    >>> parse("aqlm-2x8-g8").bits
    2.0
    """
    if found := re.fullmatch(r"vptq-v(\d+)-k(\d+)(?:-r(\d+))?", name):
        outputs, entries, residual = (int(part or 0) for part in found.groups())
        sizes = [entries, residual] if found.group(3) else [entries]
        good = all(2 <= size <= 1 << _MOST_INDEX_BITS for size in sizes)
        if good and 1 <= outputs <= _LONGEST_VECTOR:
            made = _vector(outputs, entries, residual)
            return made if made.name == name else None
    if found := re.fullmatch(r"aqlm-(\d+)x(\d+)-g(\d+)", name):
        books, bits, inputs = (int(part) for part in found.groups())
        if 1 <= books <= 8 and 1 <= bits <= _MOST_INDEX_BITS and 1 <= inputs <= _LONGEST_VECTOR:
            made = _additive(books, bits, inputs)
            return made if made.name == name else None
    return None


FORMATS = (
    *(_palette(bits) for bits in (1, 2, 3, 4, 6, 8)),
    Format(
        name="int2-int4",
        code_bits=4,
        table=_NO_TABLE,
        ties_even=(True,),
        scale_rule="none",
        decoder="two_four",
        default_group_size=16,
        outlier_share=0.9 * 0.005,  # half a percent of the weights of 2 bits
        summary="2 bits a weight, 4 in the columns that matter, FP16 outliers",
    ),
    _vector(8, 65536, 0),
    _vector(8, 65536, 256),
    _vector(6, 4096, 0),
    _vector(12, 4096, 4096),
    _vector(4, 256, 0),
    _additive(1, 16, 8),
    _additive(1, 16, 16),
    _additive(2, 8, 8),
    _additive(8, 8, 32),
)
