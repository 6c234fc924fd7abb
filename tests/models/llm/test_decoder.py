"""The decoder: caches, export, experts."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from plait.models.llm import Decoder, LLMShape, build_decoder, load_shape

SIZES = {"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "head_dim": 8, "ffn": 24}
SIZES |= {"vocab": 64, "max_positions": 48}
STYLES = {
    "llama": {},
    "qwen3-moe": {"experts": 4, "experts_active": 2, "qk_norm": True},
    "opt": {
        "gated": False,
        "norm": "layer_norm",
        "activation": "relu",
        "position": "learned",
        "qkv_bias": True,
        "tied": True,
    },
    "phi": {
        "gated": False,
        "norm": "layer_norm",
        "activation": "gelu_tanh",
        "rope_fraction": 0.5,
        "parallel": True,
        "head_bias": True,
    },
}


def _decoder(style: str) -> Decoder:
    torch.manual_seed(0)
    return Decoder(LLMShape(name=style, **SIZES, **STYLES[style])).eval().requires_grad_(False)


@pytest.mark.parametrize("style", STYLES)
def test_steps_over_a_cache_equal_one_run(style: str) -> None:
    module = _decoder(style)
    tokens = torch.randint(0, 64, (2, 12))
    whole = module(tokens)[0]
    _, keys, values = module(tokens[:, :7])
    parts, keys, values = module(tokens[:, 7:11], keys, values)
    assert torch.allclose(parts, whole[:, 7:11], atol=1e-5)
    last = module(tokens[:, 11:], torch.stack(keys), torch.stack(values))[0]
    assert torch.allclose(last, whole[:, 11:], atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_no_token_sees_a_later_one(style: str) -> None:
    module = _decoder(style)
    tokens = torch.randint(0, 64, (1, 9))
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 64
    before, after = module(tokens)[0], module(changed)[0]
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-6)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("past", [0, 5])
def test_export_with_symbolic_sizes(style: str, past: int) -> None:
    module = _decoder(style)
    batch, query, cached = Dim("batch"), Dim("query"), Dim("past")
    cache = {1: batch, 3: cached}
    dynamic = ({0: batch, 1: query}, cache, cache)[: 3 if past else 1]
    inputs = module.example_inputs(3, 4, past)
    program = torch.export.export(module, inputs, dynamic_shapes=dynamic)
    tokens = torch.randint(0, 64, (2, 6))
    _, keys, values = module(tokens)
    arguments = (tokens, torch.stack(keys), torch.stack(values)) if past else (tokens,)
    assert torch.equal(program.module()(*arguments)[0], module(*arguments)[0])


@pytest.mark.parametrize("name", ["llama-2-70b", "mixtral-8x22b", "opt-66b"])
def test_full_sizes_build_without_memory(name: str) -> None:
    module = build_decoder(name)
    assert module.lm_head.weight.is_meta
    assert sum(p.numel() for p in module.parameters()) == load_shape(name).parameters


def test_experts_equal_a_loop_over_rows() -> None:
    experts = _decoder("qwen3-moe").layers[0].mlp.experts
    hidden, weights = torch.randn(5, 32), torch.rand(5, 2)
    chosen = torch.tensor([[0, 3], [3, 1], [2, 0], [1, 2], [0, 1]])
    outputs = experts(hidden, weights, chosen)
    for row in range(5):
        expected = torch.zeros(32)
        for expert, share in zip(chosen[row], weights[row], strict=True):
            gate = torch.nn.functional.silu(experts.gate_proj.weight[expert] @ hidden[row])
            up = experts.up_proj.weight[expert] @ hidden[row]
            expected += share * (experts.down_proj.weight[expert] @ (gate * up))
        assert torch.allclose(outputs[row], expected, atol=1e-5)
