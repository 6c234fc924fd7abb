"""Widths of 2, 3, 4 and 8 bits, one a matrix, at an average: more where rounding hurts more.

Takes a module and calibration tokens, gives a copy with `QuantizedLinear` of several formats. The
hurt of a width is the squared output error that it makes, relative to the power of the output;
weights are handed more bits in the order of error saved a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models.quantize.calibrate import Statistics

__all__ = ["choose_widths", "quantize_mixed", "width_errors"]

WIDTHS = (2, 3, 4, 8)

Progress = Callable[[int, int], None]


def width_errors(
    weight: NDArray[Any],
    statistics: Statistics | None = None,
    widths: tuple[int, ...] = WIDTHS,
    group_size: int | str = 64,
    **options: Any,
) -> dict[int, float]:
    """Output error of each width relative to the output's power; of the weights without statistics.

    Args:
        weight: [outputs, inputs].
        widths: bits of symmetric integers.
        options: further ones of `quantize`.
    """
    from plait.models.quantize.methods import quantize

    matrix = np.asarray(weight, np.float64)
    found = {}
    power = statistics.output_mse(matrix) if statistics else float(np.square(matrix).mean())
    for bits in widths:
        values = quantize(weight, f"int{bits}", group_size=group_size, **options).dequantize()
        difference = values - matrix
        error = statistics.output_mse(difference) if statistics else np.square(difference).mean()
        found[bits] = float(error) / (power or 1.0)
    return found


def choose_widths(
    errors: Mapping[str, Mapping[int, float]], sizes: Mapping[str, int], average_bits: float = 3.5
) -> dict[str, int]:
    """Bits of each matrix, their average over weights at most ``average_bits``.

    Args:
        errors: error of each width of each matrix.
        sizes: weights of each matrix.
    """
    widths = sorted({bits for one in errors.values() for bits in one})
    if not widths or not widths[0] <= average_bits:
        raise FormatError(
            "below the narrowest width",
            where="average_bits",
            got=average_bits,
            expected=f"{widths[0] if widths else 'some width'} or more",
        )
    chosen = {name: min(one) for name, one in errors.items()}
    budget = average_bits * sum(sizes.values()) - sum(
        bits * sizes[name] for name, bits in chosen.items()
    )
    while True:
        best, gain = None, 0.0
        for name, one in errors.items():
            for bits in one:
                cost = (bits - chosen[name]) * sizes[name]
                saved = one[chosen[name]] - one[bits]
                if 0 < cost <= budget + 1e-9 and saved / cost > gain:
                    best, gain = (name, bits, cost), saved / cost
        if best is None:
            return chosen
        name, bits, cost = best
        chosen[name], budget = bits, budget - cost


def quantize_mixed(
    module: Any,
    average_bits: float = 3.5,
    inputs: Any = None,
    group_size: int | str = 64,
    widths: tuple[int, ...] = WIDTHS,
    include_head: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Any:
    """Quantise the block linears of a copy of a module, each to its own width.

    Args:
        average_bits: of the codes, over all quantised weights; scales come on top.
        inputs: tokens (batch, window) to calibrate with, or what `calibrate.collect` gave for them;
            None = errors of the weights alone.
        group_size, widths: as in `width_errors`.
        include_head: quantise the output matrix too.
        progress: called with the weights measured and the weights in all.
        options: further ones of `quantize`, as ``method="sparse", density=0.5``.
    """
    from plait.models.quantize.swap import measured_inputs, quantizable, replace_linears

    layers = dict(quantizable(module, include_head))
    measured = measured_inputs(module, inputs, layers)
    sizes = {name: layer.weight.numel() for name, layer in layers.items()}
    errors, done = {}, 0
    if options.get("importance") == "wanda" and not measured:
        raise FormatError(
            "needs calibration data", where="quantize_mixed: inputs", expected="tokens"
        )
    for name, layer in layers.items():
        weight = layer.weight.detach().float().numpy().reshape(-1, layer.weight.shape[-1])
        extra = {"inputs": measured[name]} if options.get("importance") == "wanda" else {}
        errors[name] = width_errors(
            weight, measured.get(name), widths, group_size, **options, **extra
        )
        done += sizes[name]
        if progress:
            progress(done, sum(sizes.values()))
    chosen = choose_widths(errors, sizes, average_bits)
    plans = {}
    for name, bits in chosen.items():
        extra = {"inputs": measured[name]} if options.get("importance") == "wanda" else {}
        plans[name] = (f"int{bits}", {"group_size": group_size} | options | extra)
    return replace_linears(module, plans)
