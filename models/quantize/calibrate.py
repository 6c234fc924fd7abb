"""Calibration data of one layer: what methods read of the inputs that flow into it.

Takes activations [tokens, inputs], gives ``Statistics``; for a module, runs tokens through it and
gives the statistics of each linear. Bad data end in one line; what a method can live with (inputs
that are always zero, few tokens) is told in ``notes`` and in the notes of its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import FormatError

__all__ = ["Statistics", "as_statistics", "collect"]

SAMPLE_TOKENS = 256
"""Tokens kept of each layer when a module is calibrated; sums run over all of them."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Sums over the inputs of a layer.

    Attributes:
        gram: X^T X / tokens, float64 [inputs, inputs].
        mean_abs: mean |x| of each input, float64 [inputs].
        max_abs: max |x| of each input, float64 [inputs].
        sample: the last tokens, float64 [tokens, inputs]; all of them if calibrated by an array.
        tokens: tokens summed over.
    """

    gram: Float64
    mean_abs: Float64
    max_abs: Float64
    sample: Float64
    tokens: int

    @property
    def inputs(self) -> int:
        """Width of the layer's input."""
        return self.gram.shape[0]

    @property
    def hessian(self) -> Float64:
        """2 X^T X / tokens: the Hessian of the layer's squared output error (GPTQ)."""
        return 2 * self.gram

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the data and still usable."""
        notes = []
        silent = int((self.max_abs == 0).sum())
        if silent:
            notes.append(
                f"{silent} of {self.inputs} inputs are always zero: their weights do not count"
            )
        if self.tokens < self.inputs:
            notes.append(f"{self.tokens} tokens for {self.inputs} inputs: the Hessian is singular")
        if self.tokens > 1 and (self.sample == self.sample[:1]).all(axis=0).any():
            constant = int((self.sample == self.sample[:1]).all(axis=0).sum()) - silent
            if constant > 0:
                notes.append(f"{constant} of {self.inputs} inputs are constant")
        return tuple(notes)

    def output_mse(self, difference: Float64) -> float:
        """Mean over tokens and outputs of (difference @ x)^2, for W - Q [outputs, inputs]."""
        if self.sample.shape[0] == self.tokens < self.inputs:
            return float(np.square(self.sample @ difference.T).mean())
        return float(((difference @ self.gram) * difference).sum() / difference.shape[0])


def as_statistics(inputs: Any, width: int, method: str) -> Statistics:
    """Statistics of calibration data, or FormatError.

    Args:
        inputs: [tokens, inputs] (any leading axes), or Statistics already.
        width: inputs of the weight matrix.
        method: who asks, for the error.
    """
    where = f"method {method}: inputs"
    if inputs is None:
        raise FormatError("needs calibration data", where=where, expected="inputs=[tokens, inputs]")
    if isinstance(inputs, Statistics):
        if inputs.inputs != width:
            raise FormatError(
                "of another width", where=where, got=inputs.inputs, expected=str(width)
            )
        _check_sums(inputs.gram, where)
        return inputs
    statistics = _summed(_checked(inputs, width, where))
    _check_sums(statistics.gram, where)
    return statistics


def _check_sums(gram: Float64, where: str) -> None:
    if not np.isfinite(gram).all():
        raise FormatError("their squares overflow", where=where, expected="activations below 1e150")
    if not gram.any():
        raise FormatError("all zero", where=where, expected="activations of real text")


def _checked(inputs: ArrayLike, width: int, where: str) -> Float64:
    if hasattr(inputs, "detach"):
        inputs = inputs.detach().float().cpu().numpy()
    try:
        array = np.asarray(inputs)
    except ValueError:
        raise FormatError("not a matrix", where=where, expected="rows of one length") from None
    if array.dtype.kind not in "fiu":
        raise FormatError("not numbers", where=where, got=array.dtype.name, expected="floats")
    if array.ndim < 2 or array.shape[-1] != width:
        raise FormatError(
            "of another width", where=where, got=list(array.shape), expected=f"[tokens, {width}]"
        )
    matrix = array.reshape(-1, width).astype(np.float64)
    if not matrix.shape[0]:
        raise FormatError("no tokens", where=where, got=list(array.shape), expected="1 or more")
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        raise FormatError(
            "not a finite number",
            where=f"{where}[{row}, {column}]",
            got=float(matrix[row, column]),
            expected="finite activations",
        )
    return matrix


def _summed(matrix: Float64) -> Statistics:
    magnitude = np.abs(matrix)
    with np.errstate(over="ignore", invalid="ignore"):  # refused by name
        gram = matrix.T @ matrix / matrix.shape[0]
    return Statistics(
        gram=gram,
        mean_abs=magnitude.mean(axis=0),
        max_abs=magnitude.max(axis=0),
        sample=matrix,
        tokens=matrix.shape[0],
    )


def collect(module: Any, tokens: Any, layers: dict[str, Any]) -> dict[str, Statistics]:
    """Run tokens (batch, window) through a module; the statistics of each of its layers by name.

    Layers that read the same tensor (q, k and v) share one object. All are measured with the
    weights as they are: errors of layers quantised before do not show (as AWQ, unlike GPTQ's own
    code, which goes through the model layer by layer).
    """
    import torch

    tokens = torch.as_tensor(tokens)
    if tokens.ndim == 1:
        tokens = tokens[None]
    if tokens.ndim != 2 or not tokens.numel() or tokens.is_floating_point():
        raise FormatError(
            "not tokens",
            where="inputs",
            got=list(tokens.shape),
            expected="(batch, window) integers",
        )
    sums: dict[str, _Sums] = {}
    seen: dict[int, tuple[Any, _Sums]] = {}  # tensors of this forward pass, held so that ids stay
    with _listening(layers, sums, seen), torch.inference_mode():
        for window in tokens:
            seen.clear()
            module(window[None])
    missing = [name for name in layers if name not in sums]
    if missing:
        raise FormatError("saw no token", where=missing[0], expected="a layer that the model runs")
    finished: dict[int, Statistics] = {}
    for name, one in sums.items():
        if id(one) not in finished:
            finished[id(one)] = one.statistics(name)
    return {name: finished[id(one)] for name, one in sums.items()}


class _Sums:
    """Running sums of one tensor that layers read."""

    def __init__(self, width: int) -> None:
        self.gram = np.zeros((width, width))
        self.total, self.largest = np.zeros(width), np.zeros(width)
        self.tokens, self.sample = 0, np.zeros((0, width))

    def add(self, values: Any) -> None:
        part = values.detach().float().reshape(-1, values.shape[-1])
        self.gram += (part.T @ part).double().numpy()
        array = part.numpy()
        self.total += np.abs(array).sum(axis=0, dtype=np.float64)
        self.largest = np.maximum(self.largest, np.abs(array).max(axis=0))
        self.tokens += array.shape[0]
        self.sample = np.concatenate([self.sample, array[-SAMPLE_TOKENS:]])[-SAMPLE_TOKENS:]

    def statistics(self, name: str) -> Statistics:
        if not np.isfinite(self.gram).all():
            raise FormatError("activations that are not finite", where=name)
        if not self.gram.any():
            raise FormatError("all zero", where=name, expected="activations of real text")
        gram, mean = self.gram / self.tokens, self.total / self.tokens
        return Statistics(gram, mean, self.largest, self.sample, self.tokens)


@contextmanager
def _listening(
    layers: dict[str, Any], sums: dict[str, _Sums], seen: dict[int, tuple[Any, _Sums]]
) -> Iterator[None]:
    def listener(name: str) -> Any:
        def listen(_: Any, arguments: tuple[Any, ...]) -> None:
            values = arguments[0]
            if id(values) not in seen:  # the first layer of those that read this tensor
                one = sums.setdefault(name, _Sums(values.shape[-1]))
                one.add(values)
                seen[id(values)] = values, one
            sums[name] = seen[id(values)][1]

        return listen

    handles = [layer.register_forward_pre_hook(listener(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
