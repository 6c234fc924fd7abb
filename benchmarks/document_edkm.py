"""Train one linear of SmolLM2 through a palette (eDKM); measure errors and memory for the docs.

    python benchmarks/document_edkm.py [--write docs/accuracy.md]

Trained on the output error of the layer, with tokens of one text; the last rows are of another
text. Memory is of one forward and backward pass through the palette of the layer's weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from document_bit_serial import publish

from plait.models.llm.texts import drill_regulations, log_school_house
from plait.models.llm.weights import load_module
from plait.models.quantize.edkm import uniquify
from plait.models.quantize.edkm_training import PaletteLinear, memory, train
from plait.models.quantize.metrics import text_windows

LAYER = "layers.10.mlp.down_proj"
WINDOW, WINDOWS, TEST_WINDOWS = 256, 8, 4


class _Reached(Exception):  # noqa: N818 - no error: the layer has its inputs, the rest need not run
    pass


def inputs_of(module: torch.nn.Module, text: str, windows: int) -> torch.Tensor:
    """What flows into the layer, (tokens, inputs)."""
    seen: list[torch.Tensor] = []

    def listen(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        seen.append(arguments[0].reshape(-1, arguments[0].shape[-1]))
        raise _Reached

    handle = module.get_submodule(LAYER).register_forward_pre_hook(listen)
    for tokens in text_windows(module, text, WINDOW, windows):
        try:
            with torch.no_grad():
                module(tokens[None])
        except _Reached:
            continue
    handle.remove()
    return torch.cat(seen)


def rows(bits: int, steps: int, rate: float) -> Iterator[list[str]]:
    """Errors relative to the power of the output, then bytes."""
    module = load_module("smollm2-135m")
    linear = module.get_submodule(LAYER)
    assert isinstance(linear, torch.nn.Linear)
    seen = inputs_of(module, log_school_house(), WINDOWS)
    other = inputs_of(module, drill_regulations(), TEST_WINDOWS)
    told = lambda done, all_: print(f"step {done} of {all_}", end="\r", file=sys.stderr)  # noqa: E731
    trained = train(linear, seen, bits, steps, rate, progress=told if sys.stderr.isatty() else None)
    count, entries = linear.weight.numel(), 1 << bits
    yield [f"{LAYER}, {count} weights, {bits} bits", "k-means alone", f"{steps} steps of training"]
    power = linear(seen).square().mean().item()
    yield [
        f"output error, training text ({len(seen)} tokens)",
        f"{trained.before / power:.5f}",
        f"{trained.after / power:.5f}",
    ]
    pair = [PaletteLinear(linear, bits), trained.layer]
    wanted = linear(other)
    errors = [F.mse_loss(F.linear(other, layer.hard_weights()), wanted).item() for layer in pair]
    power = wanted.square().mean().item()
    label = f"output error, other text ({len(other)} tokens)"
    yield [label, *(f"{error / power:.5f}" for error in errors)]
    first = pair[0]
    bound = uniquify(linear.weight.detach().numpy(), entries)
    patterns = bound.patterns
    table, index = 4 * patterns * entries, 2 * count
    own, full = (
        memory(linear.weight, first.centroids, first.temperature, is_table)
        for is_table in (True, False)
    )
    yield ["bytes", "a row a weight", "a row a pattern"]
    yield [
        f"attention map in FP32, by formula; {patterns} patterns",
        f"{4 * count * entries} = 4 W C",
        f"{table + index} = 4 U C + 2 W",
    ]
    yield ["kept for the backward pass, measured", str(full.saved_bytes), str(own.saved_bytes)]
    yield ["peak of both passes, measured", str(full.peak_bytes), str(own.peak_bytes)]
    yield [
        "index shared by 8 learners, by formula",
        "",
        f"{table + -(-index // 8)} = 4 U C + 2 W / 8",
    ]


def main() -> None:
    """Parse the command line; print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2e-3)
    options = parser.parse_args()
    publish(rows(options.bits, options.steps, options.rate), "edkm", options.write)


if __name__ == "__main__":
    main()
