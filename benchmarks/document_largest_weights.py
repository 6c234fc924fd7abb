"""Why a palette of a whole matrix fails on SmolLM2: keep its few largest weights, measure again.

    python benchmarks/document_largest_weights.py [--write docs/accuracy.md]

Takes about a minute.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from document_bit_serial import publish

from plait import api
from plait.models.llm.texts import botchan
from plait.models.llm.weights import load_module
from plait.models.quantize.swap import quantizable

FORMAT, WINDOW = "palette4", 256
KEPT = (0, 1, 4, 16)


def rows() -> Iterator[list[str]]:
    """Perplexity of the dense model, then with ever more weights of each matrix kept."""
    module, text = load_module("smollm2-135m"), botchan()
    yield [f"weights in {FORMAT}, all but", f"perplexity, novel, 1 window of {WINDOW} tokens"]
    yield ["all (the dense model)", _perplexity(module, text)]
    small = copy.deepcopy(module)
    rounded = {
        name: api.quantize(linear.weight.detach().numpy(), FORMAT, method="edkm").dequantize()
        for name, linear in quantizable(module)
    }
    for kept in KEPT:
        for name, linear in quantizable(module):
            dense = linear.weight.detach().numpy()
            values = rounded[name].astype(np.float32)
            largest = np.argsort(np.abs(dense), axis=None)[dense.size - kept :]
            values.flat[largest] = dense.flat[largest]
            small.get_submodule(name).weight.data = torch.from_numpy(values)
        yield [f"the {kept} largest of each matrix" if kept else "none", _perplexity(small, text)]


def _perplexity(module: torch.nn.Module, text: str) -> str:
    return f"{api.perplexity(module, text, WINDOW, 1):,.1f}"


def main() -> None:
    """Parse the command line; print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    publish(rows(), "largest", options.write)


if __name__ == "__main__":
    main()
