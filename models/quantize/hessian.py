"""The Hessian of a layer's output error, made safe to invert (GPTQ, arXiv 2210.17323; VPTQ)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError

__all__ = ["damped", "inverse_factor", "proxy_error"]

Float64 = NDArray[np.float64]


def damped(hessian: Float64, damp: float) -> tuple[Float64, NDArray[np.bool_]]:
    """The Hessian plus ``damp`` times its mean diagonal; and the inputs that never were active.

    A zero on the diagonal becomes 1 first; the weights of such an input are to be set to 0.
    """
    if not 0 < damp < 1:
        raise FormatError("out of range", where="damp", got=damp, expected="above 0, below 1")
    safe = hessian.copy()
    diagonal = np.arange(safe.shape[0])
    silent = safe[diagonal, diagonal] == 0
    safe[silent, silent] = 1
    safe[diagonal, diagonal] += damp * safe[diagonal, diagonal].mean()
    return safe, silent


def inverse_factor(hessian: Float64) -> Float64:
    """U, upper triangular, with H^-1 = U^T U."""
    from scipy.linalg import lapack

    try:
        inverse = np.linalg.inv(hessian)
        lower, failed = lapack.dpotrf((inverse + inverse.T) / 2, lower=1, clean=1)
    except np.linalg.LinAlgError:
        failed = 1
    if failed:
        raise FormatError(
            "cannot be inverted", where="the Hessian of the inputs", expected="a larger damp="
        )
    upper: Float64 = np.ascontiguousarray(lower.T)
    return upper


def proxy_error(difference: Float64, hessian: Float64) -> Any:
    """Mean over outputs of d^T H d, for W - Q [outputs, inputs]."""
    return ((difference @ hessian) * difference).sum() / difference.shape[0]
