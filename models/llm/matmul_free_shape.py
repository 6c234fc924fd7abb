"""Sizes of the MatMul-free language models (arXiv 2406.02528). Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from plait.errors import SpecError, unknown_name

__all__ = ["MatMulFreeShape", "load_matmul_free_shape", "matmul_free_names"]

_FFN_MULTIPLE = 256


@dataclass(frozen=True, slots=True)
class MatMulFreeShape:
    """Sizes of a MatMul-free model.

    >>> load_matmul_free_shape("matmul-free-1.3b").ffn
    5632
    """

    name: str
    layers: int
    hidden: int
    vocab: int = 32000

    @property
    def ffn(self) -> int:
        """Inner width: 8/3 of the hidden one, up to a multiple of 256."""
        return -(-(8 * self.hidden) // (3 * _FFN_MULTIPLE)) * _FFN_MULTIPLE

    @property
    def trits(self) -> int:
        """Ternary weights of all layers: 4 d^2 + 3 d ffn each."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)

    @property
    def parameters(self) -> int:
        """Trits, embedding and head (norms left out)."""
        return self.trits + 2 * self.vocab * self.hidden


_SHAPES = {
    shape.name: shape
    for shape in (
        MatMulFreeShape("matmul-free-370m", 24, 1024),
        MatMulFreeShape("matmul-free-1.3b", 24, 2048),
        MatMulFreeShape("matmul-free-2.7b", 32, 2560),
    )
}


def matmul_free_names() -> list[str]:
    """Names of the published sizes."""
    return list(_SHAPES)


def load_matmul_free_shape(name: str) -> MatMulFreeShape:
    """The sizes of a published model."""
    if name not in _SHAPES:
        raise SpecError(unknown_name("MatMul-free model", name, _SHAPES))
    return _SHAPES[name]
