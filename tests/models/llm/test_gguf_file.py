"""GGUF: headers from strangers end in one line; our writer's files come back."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import FormatError
from plait.models.llm import Decoder, LLMShape, load_module
from plait.models.llm.gguf_file import open_gguf

SHAPE = LLMShape(
    name="tiny",
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=16,
    ffn=96,
    vocab=32,
    max_positions=128,
)
THEIRS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _name(ours: str) -> str:
    for old, new in {**THEIRS, "embed_tokens": "token_embd", "lm_head": "output"}.items():
        ours = ours.replace(old, new)
    return ours.replace("layers.", "blk.") if ours != "norm.weight" else "output_norm.weight"


def _interleaved(weight: torch.Tensor) -> torch.Tensor:
    """The rows of q and k as llama.cpp's converter writes them."""
    heads = weight.shape[0] // SHAPE.head_dim
    rows = weight.reshape(heads, 2, SHAPE.head_dim // 2, -1)
    return rows.swapaxes(1, 2).reshape(weight.shape)


def _write(
    path: Path, architecture: str = "llama", shape: LLMShape = SHAPE, **metadata: int | float | str
) -> Decoder:
    torch.manual_seed(0)
    module = Decoder(shape).eval().requires_grad_(False)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(SHAPE.layers)
    writer.add_context_length(SHAPE.max_positions)
    writer.add_embedding_length(SHAPE.hidden)
    writer.add_feed_forward_length(SHAPE.ffn)
    writer.add_head_count(SHAPE.heads)
    writer.add_head_count_kv(SHAPE.kv_heads)
    writer.add_layer_norm_rms_eps(SHAPE.norm_eps)
    for key, value in metadata.items():
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    for name, tensor in module.state_dict().items():
        if name != "rope_frequencies" and not (shape.tied and name == "lm_head.weight"):
            swapped = architecture == "llama" and (".q_proj." in name or ".k_proj." in name)
            data = _interleaved(tensor) if swapped else tensor
            writer.add_tensor(_name(name), data.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return module


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    _write(path)
    return path.read_bytes()


def test_a_written_module_comes_back(tmp_path: Path) -> None:
    written = _write(tmp_path / "tiny.gguf").state_dict()
    steps: list[tuple[int, int]] = []
    module = load_module(tmp_path / "tiny.gguf", lambda done, total: steps.append((done, total)))
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, written[name]), name
    assert module.tokenizer is None
    assert module.weights_note == ""
    assert steps[-1] == (21, 21)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("qwen2", {"qkv_bias": True}), ("qwen3", {"qk_norm": True, "tied": True})],
)
def test_families_with_halves_apart_come_back(
    architecture: str, changes: dict[str, bool], tmp_path: Path
) -> None:
    shape = SHAPE.with_(**changes)
    path = tmp_path / "tiny.gguf"
    written = _write(path, architecture, shape).state_dict()
    module = load_module(path)
    assert module.shape == shape
    assert all(torch.equal(tensor, written[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "F16", "BF16", "Q6_K"])
def test_tensors_equal_those_of_the_reader_of_gguf(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "one.gguf"
    stored = gguf.GGMLQuantizationType[kind]
    values = np.random.default_rng(0).standard_normal((6, 256)).astype(np.float32)
    block, size = gguf.GGML_QUANT_SIZES[stored]
    writer = gguf.GGUFWriter(path, "llama")
    if kind == "Q6_K":  # gguf cannot make it: any bytes with a finite scale are a tensor
        data = np.random.default_rng(0).integers(0, 60, (6, 256 // block * size), dtype=np.uint8)
    else:
        data = gguf.quantize(values, stored)
    writer.add_tensor("w", data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    theirs = gguf.GGUFReader(path).tensors[0]
    expected = gguf.dequantize(theirs.data, theirs.tensor_type)
    assert np.array_equal(open_gguf(path).read("w"), expected)


def _load(content: bytes, folder: Path) -> None:
    path = folder / "changed.gguf"
    path.write_bytes(content)
    load_module(path)


@pytest.mark.parametrize("share", [0, 0.0001, 0.001, 0.003, 0.01, 0.3, 0.99])
def test_cut_files_are_one_line(share: float, whole: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"changed\.gguf") as caught:
        _load(whole[: int(len(whole) * share)], tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"GGML", "no GGUF file"),
        (0, b"PK\x03\x04", "no GGUF file"),
        (4, b"\x09\x00\x00\x00", "unknown version"),
        (4, b"\x00\x00\x00\x03", "unknown version"),
        (8, b"\xff" * 8, "tensors do not fit"),
        (16, b"\xff" * 8, "metadata entries do not fit"),
        (24, b"\xff" * 8, "characters of a text do not fit"),
    ],
)
def test_absurd_headers(
    offset: int, value: bytes, message: str, whole: bytes, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        _load(whole[:offset] + value + whole[offset + len(value) :], tmp_path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"llama.block_count": 3}, "tensors missing"),
        ({"llama.block_count": 1000}, "fewer tensors than layers"),
        ({"llama.block_count": 10**9}, "layers: out of range"),
        ({"llama.block_count": "two"}, "missing or of the wrong type, got 'two', expected int"),
        ({"llama.embedding_length": 128}, "wrong shape"),
        ({"llama.attention.head_count": 0}, "out of range"),
        ({"llama.rope.scaling.type": "yarn"}, "scaled rotary positions are not supported"),
        ({"general.architecture": "mamba"}, "unknown architecture, got 'mamba'"),
        ({"general.alignment": 0}, "absurd general.alignment"),
        ({"tokenizer.ggml.model": "gpt2"}, "tokenizer.ggml.tokens: missing"),
    ],
)
def test_metadata_that_does_not_fit(
    metadata: dict[str, int | str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "changed.gguf"
    _write_changed(path, metadata)
    with pytest.raises(FormatError, match=message) as caught:
        load_module(path)
    assert "\n" not in str(caught.value)


def _write_changed(path: Path, metadata: dict[str, int | str]) -> None:
    """Write the tiny model with some keys replaced."""
    original = gguf.GGUFWriter.add_key_value

    def add(self, key, value, kind, *rest, **named):  # type: ignore[no-untyped-def]
        if key in metadata and value != metadata[key]:
            return
        original(self, key, value, kind, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "add_key_value", add)
        _write(path, **metadata)


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.integers(0, 2500), st.integers(0, 255)), min_size=1))
def test_damaged_bytes_give_one_line_or_a_model(
    changes: list[tuple[int, int]], whole: bytes, tmp_path: Path
) -> None:
    damaged = bytearray(whole)
    for offset, value in changes:
        damaged[offset] = value
    lines = []
    try:
        _load(bytes(damaged), tmp_path)
    except FormatError as error:
        lines = str(error).splitlines()
    assert len(lines) <= 1
