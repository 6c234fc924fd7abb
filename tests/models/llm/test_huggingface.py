"""Hugging Face folders of every family: our decoder gives the logits that transformers gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from plait.errors import FormatError, PlaitError, SpecError
from plait.models.llm import load_module, load_shape

transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FAMILIES = {
    "llama": ("Llama", SMALL),
    "llama-3.1": ("Llama", SMALL | {"rope_parameters": LLAMA3_ROPE}),
    "llama-biased": ("Llama", SMALL | {"attention_bias": True, "mlp_bias": True}),
    "llama-tied": ("Llama", SMALL | {"tie_word_embeddings": True}),
    "mistral": ("Mistral", SMALL | {"sliding_window": None}),
    "mixtral": ("Mixtral", SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": ("Qwen2", SMALL),
    "qwen3": ("Qwen3", SMALL | {"head_dim": 16}),
    "qwen3-moe": (
        "Qwen3Moe",
        SMALL
        | {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    ),
    "gemma": ("Gemma", SMALL | {"head_dim": 16}),
    "phi": ("Phi", SMALL | {"num_key_value_heads": 4, "partial_rotary_factor": 0.5}),
    "phi3": ("Phi3", SMALL),
    "opt": ("OPT", SMALL | {"num_key_value_heads": 4, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "gpt2": (
        "GPT2",
        {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    ),
}


def _saved(family: str, folder: Path) -> torch.nn.Module:
    """A random model of a family, saved; its biases and norms are not the trivial ones."""
    name, sizes = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**sizes)
    kind = "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM"
    torch.manual_seed(1)
    model = getattr(transformers, kind)(config).float().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_those_of_transformers(family: str, tmp_path: Path) -> None:
    model = _saved(family, tmp_path)
    module = load_module(tmp_path)
    tokens = torch.randint(1, 96, (2, 33))
    with torch.inference_mode():
        expected, logits = model(tokens).logits, module(tokens)[0]
    assert (logits - expected).abs().max() <= 2e-5 * expected.abs().max()
    weights = sum(p.numel() for p in module.parameters())
    assert load_shape(tmp_path).parameters == weights


def test_shards_and_the_missing_tokenizer(tmp_path: Path) -> None:
    model = _saved("llama", tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert (tmp_path / "shards/model.safetensors.index.json").is_file()
    whole, shards = (load_module(tmp_path / name).state_dict() for name in ("whole", "shards"))
    assert all(torch.equal(whole[name], shards[name]) for name in whole)
    assert load_module(tmp_path / "whole").tokenizer is None


def test_tokenizer_json_is_used(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    _saved("llama", tmp_path)
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_module(tmp_path).tokenizer.encode("b a c", add_special_tokens=False) == [1, 0, 2]
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(FormatError, match=r"tokenizer\.json: damaged"):
        load_module(tmp_path)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole folder; tests that damage it take a copy."""
    folder = tmp_path_factory.mktemp("llama")
    _saved("llama", folder)
    return folder


def _change(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "unknown model_type 'mamba'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: not supported"),
        ({"hidden_size": 10**12}, "hidden: out of range"),
        ({"num_attention_heads": 0}, "num_attention_heads: not supported"),
        ({"num_attention_heads": "4"}, "num_attention_heads: not supported"),
        ({"num_hidden_layers": 3}, "tensors missing"),
        ({"num_hidden_layers": 1}, "tensor without a place in the model"),
        ({"intermediate_size": 47}, "wrong shape"),
        ({"num_hidden_layers": None}, "missing num_hidden_layers"),
        ({"hidden_act": "mish"}, "hidden_act: not supported"),
        ({"hidden_act": ["silu"]}, "hidden_act: not supported"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps: not supported"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type: not supported"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "missing factor"),
        ({"rope_parameters": [1]}, "rope_parameters: not supported"),
        ({"model_type": ["llama"]}, "model_type: not supported"),
    ],
)
def test_a_wrong_config_is_one_line(
    changes: dict[str, object], message: str, tmp_path: Path, llama: Path
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    _change(tmp_path, **changes)
    with pytest.raises(PlaitError, match=message) as caught:
        load_module(tmp_path)
    assert "\n" not in str(caught.value)
    assert tmp_path.name in str(caught.value)


def test_pickled_weights_are_refused(tmp_path: Path, llama: Path) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FormatError, match=r"pytorch_model\.bin is pickled"):
        load_module(tmp_path)
    with pytest.raises(FormatError, match="pickled weights can run code"):
        load_module(tmp_path / "pytorch_model.bin")


def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, llama: Path) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    index = {"weight_map": {"lm_head.weight": "../other.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FormatError, match="no file of this folder"):
        load_module(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, -1])
def test_cut_safetensors_are_one_line(keep: int, tmp_path: Path, llama: Path) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="no whole safetensors file") as caught:
        load_module(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_absurd_safetensors_header_is_one_line(tmp_path: Path, llama: Path) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    with pytest.raises(FormatError, match="no whole safetensors file"):
        load_module(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = _saved("llama", tmp_path)
    model.model.norm.weight[3] = torch.inf
    model.save_pretrained(tmp_path)
    with pytest.raises(FormatError, match=r"norm\.weight: holds infinities or NaN"):
        load_module(tmp_path)


def test_a_folder_without_config_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"config\.json: cannot be read"):
        load_module(tmp_path)
