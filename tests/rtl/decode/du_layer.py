"""A layer of SmolLM2 as the decode units get it: key projection 0 with the inputs it really has."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from plait.models.llm.gguf_file import open_gguf
from plait.models.llm.weights import smollm2_path
from plait.models.quantize import dgq, edkm, ternary
from plait.models.quantize.granularity import PerGroup
from plait.models.quantize.storage import stored_parts
from plait.models.quantize.tensor import QuantizedTensor

_FIRST, _TOKENS = 1000, 256  # any tokens: what counts is that embeddings are not Gaussian

Arrays = dict[str, NDArray]


@cache
def layer() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Weight [192, 576], embeddings of some tokens [tokens, 576], weight of the norm [576]."""
    file = open_gguf(smollm2_path())
    whole = file.tensors["token_embd.weight"]
    row = whole.size_bytes // whole.shape[0]
    part = replace(
        whole,
        shape=(_TOKENS, whole.shape[1]),
        offset=whole.offset + _FIRST * row,
        size_bytes=_TOKENS * row,
    )
    embedding = replace(file, tensors={"part": part}).read("part")
    return file.read("blk.0.attn_k.weight"), embedding, file.read("blk.0.attn_norm.weight")


def inputs() -> NDArray[np.float64]:
    """What flows into the layer, float64 [tokens, 576]."""
    _, embedding, norm = layer()
    wide = embedding.astype(np.float64)
    return wide / np.sqrt(np.square(wide).mean(axis=1, keepdims=True) + 1e-5) * norm


def ternary_case(tokens: int = 1) -> tuple[Arrays, QuantizedTensor]:
    """Trits as stored, and INT8 activations as BitLinear makes them."""
    weight, embedding, norm = layer()
    tensor = ternary.ternary(weight)
    activations, _ = ternary.activation_codes(embedding[:tokens], norm)
    return _stored(tensor, activations=activations), tensor


def dual_case(tokens: int = 1, group_size: int = 64) -> tuple[Arrays, QuantizedTensor]:
    """Codes, zeros and scales as stored, and INT8 activations."""
    tensor = dgq.dgq(layer()[0], granularity=PerGroup(group_size), inputs=inputs())
    activations, _ = dgq.token_codes(inputs()[:tokens])
    return _stored(tensor, activations=activations), tensor


def palette_case(rows_per_lut: int = 96) -> tuple[Arrays, QuantizedTensor]:
    """Indices as stored and the palettes of each row group."""
    tensor = edkm.edkm(layer()[0], "palette3", rows_per_lut=rows_per_lut)
    return _stored(tensor, luts=tensor.extras["lut"]), tensor


def _stored(tensor: QuantizedTensor, **more: NDArray) -> Arrays:
    parts = stored_parts(tensor)
    arrays = {"codes": parts["codes"], "shape": np.array(tensor.shape), **more}
    if "zeros" in parts:
        arrays["zeros"] = parts["zeros"].view(np.int8).reshape(tensor.scales.shape)
        arrays["scales"] = parts["scale_codes"]
    return arrays
