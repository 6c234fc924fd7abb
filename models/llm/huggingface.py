"""Hugging Face folders: `config.json` to an `LLMShape`, tensor names and layouts to ours.

Takes the folder as `save_pretrained` writes it; the shape needs no torch, the weights need
safetensors.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import FormatError, SpecError, unknown_name
from plait.files import reason

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["our_tensors", "read_json", "shape_fields"]

_LARGEST_JSON = 1 << 24  # bytes; the index of a large checkpoint has 100 kB
_OPT_UNUSED_POSITIONS = 2  # OPT's position table starts with two rows that no token uses
_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of at most 16 MiB."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_JSON + 1)
        if len(data) > _LARGEST_JSON:
            raise SpecError("larger than 16 MiB", where=str(path))
        values = json.loads(data)
    except OSError as error:
        raise SpecError(f"cannot be read: {reason(error)}", where=str(path)) from None
    except (ValueError, RecursionError):
        raise SpecError("not JSON", where=str(path)) from None
    if not isinstance(values, dict):
        raise SpecError("not a JSON object", where=str(path), got=type(values).__name__)
    return values


class _Config:
    """A `config.json`: looks keys up and says which one is missing or of another type."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def __call__(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise SpecError(f"missing {key}", where=self.where)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self.refuse(key, value, kind.__name__)
        return value

    def refuse(self, key: str, got: object, expected: str) -> SpecError:
        return SpecError("not supported", where=f"{self.where}: {key}", got=got, expected=expected)


def shape_fields(folder: Path) -> dict[str, Any]:
    """Fields of the `LLMShape` of a Hugging Face folder."""
    path = folder / "config.json"
    config = _Config(read_json(path), str(path))
    family = config("model_type", str)
    if family not in _FAMILIES:
        raise SpecError(unknown_name("model_type", family, _FAMILIES), where=str(path))
    if config.values.get("quantization_config"):
        raise config.refuse("quantization_config", "quantised weights", "plain weights")
    return {"name": folder.resolve().name, **_FAMILIES[family](config)}


def _common(config: _Config) -> dict[str, Any]:
    """Sizes under the names that most families share."""
    heads, hidden = config("num_attention_heads", int), config("hidden_size", int)
    if heads < 1:
        raise config.refuse("num_attention_heads", heads, "a positive integer")
    return {
        "layers": config("num_hidden_layers", int),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": config("num_key_value_heads", int, heads),
        "head_dim": config("head_dim", int, hidden // heads),
        "vocab": config("vocab_size", int),
        "max_positions": config("max_position_embeddings", int),
    }


def _llama(config: _Config, **changes: Any) -> dict[str, Any]:
    bias = config("attention_bias", bool, False)
    common = _common(config)
    window = config.values.get("sliding_window")
    if window and config("use_sliding_window", bool, True):
        common["max_positions"] = min(common["max_positions"], window)  # the mask is full causal
    return {
        **common,
        "ffn": config("intermediate_size", int),
        "norm_eps": config("rms_norm_eps", float, 1e-6),
        "activation": _activation(config, "hidden_act"),
        "tied": config("tie_word_embeddings", bool, False),
        "qkv_bias": bias,
        "output_bias": bias,
        "ffn_bias": config("mlp_bias", bool, False),
        **_rope(config),
        **changes,
    }


def _mixtral(config: _Config) -> dict[str, Any]:
    return _llama(
        config,
        experts=config("num_local_experts", int),
        experts_active=config("num_experts_per_tok", int),
    )


def _qwen2(config: _Config) -> dict[str, Any]:
    window = {} if config("use_sliding_window", bool, False) else {"use_sliding_window": False}
    config = _Config({**config.values, **window}, config.where)
    return _llama(config, qkv_bias=True, output_bias=False)


def _qwen3(config: _Config) -> dict[str, Any]:
    return {**_qwen2(config), "qkv_bias": config("attention_bias", bool, False), "qk_norm": True}


def _qwen3_moe(config: _Config) -> dict[str, Any]:
    if config("decoder_sparse_step", int, 1) != 1 or config.values.get("mlp_only_layers"):
        raise config.refuse("mlp_only_layers", "dense layers among sparse ones", "all layers alike")
    return {
        **_qwen3(config),
        "ffn": config("moe_intermediate_size", int),
        "experts": config("num_experts", int, config.values.get("num_local_experts")),
        "experts_active": config("num_experts_per_tok", int),
        "experts_renormalise": config("norm_topk_prob", bool, False),
    }


def _gemma(config: _Config) -> dict[str, Any]:
    name = "hidden_activation" if config.values.get("hidden_activation") else "hidden_act"
    scale = math.sqrt(config("hidden_size", int))
    tied = config("tie_word_embeddings", bool, True)
    return _llama(
        config,
        activation=_activation(config, name, "gelu_pytorch_tanh"),
        embedding_scale=scale,
        tied=tied,
    )


def _phi(config: _Config) -> dict[str, Any]:
    return {
        **_common(config),
        **_two_matrices(config, "hidden_act", config("layer_norm_eps", float, 1e-5)),
        **_rope(config, config("partial_rotary_factor", float, 0.5)),
        "ffn": config("intermediate_size", int),
        "tied": config("tie_word_embeddings", bool, False),
        "parallel": True,
        "head_bias": True,
        "qk_norm": config("qk_layernorm", bool, False),
    }


def _opt(config: _Config) -> dict[str, Any]:
    if not config("do_layer_norm_before", bool, True):
        raise config.refuse("do_layer_norm_before", False, "true")
    if config("word_embed_proj_dim", int, config("hidden_size", int)) != config("hidden_size", int):
        raise config.refuse(
            "word_embed_proj_dim", config("word_embed_proj_dim", int), "hidden_size"
        )
    return {
        **_common(config),
        **_two_matrices(config, "activation_function", 1e-5),
        "ffn": config("ffn_dim", int),
        "tied": config("tie_word_embeddings", bool, True),
        "position": "learned",
    }


def _gpt2(config: _Config) -> dict[str, Any]:
    hidden, heads = config("n_embd", int), config("n_head", int)
    for key in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        if config(key, bool, False):
            raise config.refuse(key, True, "false")
    return {
        **_two_matrices(config, "activation_function", config("layer_norm_epsilon", float, 1e-5)),
        "layers": config("n_layer", int),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // heads,
        "vocab": config("vocab_size", int),
        "max_positions": config("n_positions", int),
        "ffn": config("n_inner", int, 4 * hidden),
        "tied": config("tie_word_embeddings", bool, True),
        "position": "learned",
    }


def _two_matrices(config: _Config, activation_key: str, eps: float) -> dict[str, Any]:
    """Fields of the GPT-2 way: layer norm, two matrices, biases everywhere."""
    return {
        "gated": False,
        "norm": "layer_norm",
        "norm_eps": eps,
        "activation": _activation(config, activation_key),
        "qkv_bias": True,
        "output_bias": True,
        "ffn_bias": True,
    }


def _activation(config: _Config, key: str, default: str | None = None) -> str:
    name = config(key, str, default)
    if name not in _ACTIVATIONS:
        raise config.refuse(key, name, " or ".join(_ACTIVATIONS))
    return _ACTIVATIONS[name]


def _rope(config: _Config, fraction: float = 1.0) -> dict[str, Any]:
    """Rotary fields; `rope_parameters` is how transformers 5 writes them, `rope_scaling` how 4."""
    values = {"rope_theta": config("rope_theta", float, 10000.0), "partial_rotary_factor": fraction}
    for key in ("rope_scaling", "rope_parameters"):
        given = config.values.get(key) or {}
        if not isinstance(given, dict):
            raise config.refuse(key, given, "a mapping")
        values |= given
    rope = _Config(values, f"{config.where}: rope_parameters")
    kind = rope("rope_type", str, values.get("type", "default"))
    fields = {
        "rope_theta": rope("rope_theta", float),
        "rope_fraction": rope("partial_rotary_factor", float),
    }
    if kind == "default":
        return fields
    if kind != "llama3":
        raise rope.refuse("rope_type", kind, "default or llama3")
    return {
        **fields,
        "rope_factor": rope("factor", float),
        "rope_low_frequency": rope("low_freq_factor", float),
        "rope_high_frequency": rope("high_freq_factor", float),
        "rope_original_positions": rope("original_max_position_embeddings", int),
    }


_FAMILIES: dict[str, Callable[[_Config], dict[str, Any]]] = {
    "gemma": _gemma,
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _llama,
    "mixtral": _mixtral,
    "opt": _opt,
    "phi": _phi,
    "phi3": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
}

_RENAMES = [  # applied in order to every name
    (r"^(model\.decoder|model|transformer)\.", ""),
    (r"^h\.", "layers."),
    (r"^wte\.", "embed_tokens."),
    (r"^wpe\.", "embed_positions."),
    (r"^(ln_f|final_layer_norm|final_layernorm)\.", "norm."),
    (r"\.ln_1\.|\.self_attn_layer_norm\.", ".input_layernorm."),
    (r"\.ln_2\.|\.final_layer_norm\.", ".post_attention_layernorm."),
    (r"\.attn\.c_proj\.|\.self_attn\.out_proj\.|\.self_attn\.dense\.", ".self_attn.o_proj."),
    (r"\.attn\.c_attn\.", ".self_attn.qkv_proj."),
    (r"\.self_attn\.(q|k)_layernorm\.", r".self_attn.\1_norm."),
    (r"(\.\d+)\.fc([12])\.", r"\1.mlp.fc\2."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.block_sparse_moe\.", ".mlp."),
    (r"\.experts\.(\d+)\.w1\.", r".experts.\1.gate_proj."),
    (r"\.experts\.(\d+)\.w3\.", r".experts.\1.up_proj."),
    (r"\.experts\.(\d+)\.w2\.", r".experts.\1.down_proj."),
]
_NO_WEIGHTS = re.compile(r"\.(rotary_emb\.inv_freq|attn\.(masked_)?bias)$")
_TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")  # GPT-2 stores (inputs, outputs)


def our_tensors(family: str, shape: Any, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Give a checkpoint's tensor under our names, split where ours are separate.

    One expert of many comes out as `....experts.E.gate_proj.weight`; the loader stacks them.
    """
    if _NO_WEIGHTS.search(name):
        return
    if family == "gpt2" and _TRANSPOSED.search(name):
        tensor = tensor.T
    for pattern, ours in _RENAMES:
        name = re.sub(pattern, ours, name)
    if family == "gemma" and re.search(r"norm\.weight$", name):
        tensor = tensor + 1  # Gemma multiplies by 1 + weight
    if family == "opt" and name == "embed_positions.weight":
        tensor = tensor[_OPT_UNUSED_POSITIONS:]
    yield from _parts(shape, name, tensor)


def _parts(shape: Any, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if ".qkv_proj." in name:
        names, sizes = "qkv", [shape.query_width, shape.kv_width, shape.kv_width]
        parts = [name.replace("qkv_proj", f"{part}_proj") for part in names]
    elif ".gate_up_proj." in name:
        sizes = [shape.ffn, shape.ffn]
        parts = [name.replace("gate_up_proj", f"{part}_proj") for part in ("gate", "up")]
    else:
        yield name, tensor
        return
    if tensor.shape[0] != sum(sizes):
        raise FormatError("wrong number of rows", where=name, got=tensor.shape[0])
    yield from zip(parts, tensor.split(sizes), strict=True)
