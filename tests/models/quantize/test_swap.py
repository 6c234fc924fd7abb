"""Modules with quantised linears: values, what is left alone, export, saving, loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim

from plait.errors import FormatError
from plait.models.llm import Decoder, LLMShape, build_decoder
from plait.models.quantize import qlinear, quantize
from plait.models.quantize.qlinear import QuantizedGroupedLinear, QuantizedLinear
from plait.models.quantize.swap import quantizable, quantize_module

SIZES = {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 96}
SIZES |= {"vocab": 50, "max_positions": 64}
STYLES = {
    "llama": {"tied": True},
    "opt": {
        "gated": False,
        "norm": "layer_norm",
        "position": "learned",
        "qkv_bias": True,
        "output_bias": True,
        "ffn_bias": True,
    },
    "mixtral": {"experts": 4, "experts_active": 2},
}
FORMATS = [
    ("bitmod4", 32, None),
    ("bitmod3", 48, 8),
    ("int4", "channel", None),
    ("int4-asym", 32, 8),
    ("int8", "tensor", None),
    ("ant4", 32, None),
    ("olive4", "channel", None),
    ("mxfp4", None, None),
    ("nvfp4", None, None),
    ("ternary", 32, None),
]
TOKENS = torch.arange(12).reshape(2, 6)


def _decoder(style: str = "llama") -> Decoder:
    torch.manual_seed(0)
    return Decoder(LLMShape(name=style, **SIZES, **STYLES[style])).eval().requires_grad_(False)


def _dequantised(module: Decoder, small: nn.Module) -> Decoder:
    """The original with the dequantised weights written into its linears."""
    state = module.state_dict()
    for name, layer in small.named_modules():
        if isinstance(layer, QuantizedLinear | QuantizedGroupedLinear):
            weight = torch.from_numpy(layer.tensor().dequantize())
            state[f"{name}.weight"] = weight.reshape(state[f"{name}.weight"].shape)
    dense = Decoder(module.shape).eval()
    dense.load_state_dict(state)
    return dense


@pytest.mark.parametrize(("format", "group_size", "scale_bits"), FORMATS)
def test_outputs_are_those_of_the_dequantised_weights(
    format: str, group_size: int | str | None, scale_bits: int | None
) -> None:
    module = _decoder()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    small = quantize_module(module, format, group_size=group_size, scale_bits=scale_bits)
    assert torch.equal(small(TOKENS)[0], _dequantised(module, small)(TOKENS)[0])
    assert not torch.equal(small(TOKENS)[0], module(TOKENS)[0])
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_layer_holds_what_quantize_gives() -> None:
    module = _decoder()
    layer = quantize_module(module, "bitmod4", group_size=32, scale_bits=8).layers[1].mlp.up_proj
    weight = module.layers[1].mlp.up_proj.weight.numpy()
    expected = quantize(weight, "bitmod4", group_size=32, scale_bits=8)
    tensor = layer.tensor()
    assert (tensor.codes == expected.codes).all()
    assert (tensor.dequantize() == expected.dequantize()).all()
    assert layer.bits_per_weight == expected.bits_per_weight
    assert (layer.in_features, layer.out_features, layer.format) == (64, 96, "bitmod4")


@pytest.mark.parametrize("style", STYLES)
def test_embedding_head_and_router_stay_unless_asked(style: str) -> None:
    names = {name for name, _ in quantizable(_decoder(style))}
    with_head = {name for name, _ in quantizable(_decoder(style), include_head=True)}
    assert with_head - names == {"lm_head"}
    linears = {
        name
        for name, layer in _decoder(style).named_modules()
        if isinstance(layer, nn.Linear) and not name.endswith(".gate")
    }
    assert linears <= with_head


def test_a_quantised_head_leaves_its_embedding() -> None:
    module = _decoder()
    small = quantize_module(module, "int4", group_size=32, include_head=True)
    assert isinstance(small.lm_head, QuantizedLinear)
    assert torch.equal(small.embed_tokens.weight, module.embed_tokens.weight)


def test_formats_a_pattern() -> None:
    module = quantize_module(_decoder(), "int8", group_size="channel", only="*.mlp.*")
    module = quantize_module(module, "int4", group_size=32)
    assert module.layers[0].mlp.up_proj.format == "int8"
    assert module.layers[0].self_attn.q_proj.format == "int4"


def test_the_conv1d_of_transformers_gpt2() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=2, n_positions=16)
    model = GPT2LMHeadModel(config).eval()
    small = quantize_module(model, "int8", group_size="channel")
    assert isinstance(small.transformer.h[0].attn.c_attn, QuantizedLinear)
    assert isinstance(small.lm_head, nn.Linear)
    with torch.inference_mode():
        expected, logits = model(TOKENS).logits, small(TOKENS).logits
    assert (logits - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(
    ("style", "format"),
    [
        pytest.param(style, format, marks=[pytest.mark.slow] if style != usual else [])
        for format, usual in (("bitmod4", "llama"), ("int4-asym", "opt"), ("nvfp4", "mixtral"))
        for style in STYLES
    ],
)
def test_export_saving_and_loading(style: str, format: str, tmp_path: Path) -> None:
    small = quantize_module(_decoder(style), format)
    dynamic = ({0: Dim("batch"), 1: Dim("query")},)
    program = torch.export.export(
        small, (torch.zeros(3, 5, dtype=torch.long),), dynamic_shapes=dynamic
    )
    torch.export.save(program, tmp_path / "small.pt2")
    loaded = torch.export.load(tmp_path / "small.pt2")
    assert torch.equal(loaded.module()(TOKENS)[0], small(TOKENS)[0])
    calls = [node for node in loaded.graph.nodes if "plait.q" in str(node.target)]
    assert len(calls) == sum(1 for _ in quantizable(_decoder(style)))
    layer = small.layers[0].self_attn.q_proj
    arguments = torch.ops.plait.qlinear.default._schema.arguments
    facts = dict(zip([a.name for a in arguments], calls[0].args, strict=True))
    assert facts["format"] == format
    assert (facts["cout"], facts["cin"]) == (64, 64)
    assert facts["group_size"] == layer.group_size
    assert facts["bits_per_weight"] == layer.bits_per_weight


def test_a_state_goes_through_files(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    small = quantize_module(_decoder("opt"), "bitmod4", group_size=32)
    save_file(small.state_dict(), tmp_path / "small.safetensors")
    torch.save(small.state_dict(), tmp_path / "small.pt")
    other = _decoder("opt")
    for parameter in other.parameters():
        parameter.add_(1)
    for state in (
        load_file(tmp_path / "small.safetensors"),
        torch.load(tmp_path / "small.pt", weights_only=True),
    ):
        loaded = quantize_module(other, "bitmod4", group_size=32)
        assert not torch.equal(loaded(TOKENS)[0], small(TOKENS)[0])
        loaded.load_state_dict(state)  # the dense weights of the run before are not used again
        assert torch.equal(loaded(TOKENS)[0], small(TOKENS)[0])


def test_a_state_of_another_format_is_refused() -> None:
    state = quantize_module(_decoder(), "int4", group_size=32).state_dict()
    with pytest.raises(FormatError, match="quantised in another way"):
        quantize_module(_decoder(), "fp4", group_size=32).load_state_dict(state)


def test_dense_weights_are_kept_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = qlinear._assembled
    monkeypatch.setattr(qlinear, "_assembled", lambda *a: made.append(1) or original(*a))
    small = quantize_module(_decoder(), "int4", group_size=32)
    largest = 64 * 96 * 4
    linears = sum(1 for _ in quantizable(_decoder()))

    monkeypatch.setattr(qlinear, "_cache", qlinear._DenseCache(linears * largest))
    expected = [small(TOKENS)[0] for _ in range(2)]
    assert len(made) == linears  # once a layer for two runs

    for limit in (0, 3 * largest):
        made.clear()
        cache = qlinear._DenseCache(limit)
        monkeypatch.setattr(qlinear, "_cache", cache)
        assert all(torch.equal(small(TOKENS)[0], run[:]) for run in expected)
        assert len(made) > linears
        assert sum(weight.nbytes for _, weight in cache._kept.values()) <= limit


def test_dense_weights_go_with_their_module(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = qlinear._DenseCache(1 << 30)
    monkeypatch.setattr(qlinear, "_cache", cache)
    small = quantize_module(_decoder(), "int4", group_size=32)
    small(TOKENS)
    assert len(list(cache._kept.values())) == 14
    del small
    assert list(cache._kept.values()) == []


def test_progress_counts_weights() -> None:
    steps: list[tuple[int, int]] = []
    quantize_module(_decoder(), "int4", progress=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96)
    assert steps == sorted(steps)


def test_mistakes_are_one_line() -> None:
    with pytest.raises(FormatError, match="no linear layers to quantise"):
        quantize_module(nn.Embedding(4, 4), "int4")
    with pytest.raises(FormatError, match="no linear layers to quantise"):
        quantize_module(_decoder(), "int4", only="nothing.*")
    with pytest.raises(FormatError, match="unknown format 'int44'"):
        quantize_module(_decoder(), "int44")
    with pytest.raises(FormatError, match=r"layers\.0\.self_attn\.q_proj: has a shape"):
        quantize_module(build_decoder("smollm2-135m"), "int4")
    with pytest.raises(FormatError, match=r"layers\.0\.self_attn\.q_proj: .*group size"):
        quantize_module(_decoder(), "int4", group_size=0)
    broken = _decoder()
    broken.layers[1].mlp.up_proj.weight[3, 4] = torch.nan
    with pytest.raises(FormatError, match=r"layers\.1\.mlp\.up_proj: weight\[3, 4\]"):
        quantize_module(broken, "int4")
