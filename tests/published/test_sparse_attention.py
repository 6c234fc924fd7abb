"""Attention variants and sparse models: every row of data/sparse_attention_reference.csv.

The rows come from one implementation of the papers' text; HiP's is our own variant of it. A case's
name holds its parameters. Values within 1e-6, integers and lists exactly.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from plait.models import attention
from plait.models.graph import load_graph
from plait.models.graph.counts import (
    active_weights,
    kv_bytes_per_token,
    stored_weights,
    weight_bytes_read,
)
from plait.models.graph.rewrites import MoE, duo_llm, flat_gemm
from plait.models.graph.rewrites.gemfilter import gemfilter_cost
from plait.models.graph.workload import expected_experts
from plait.models.llm import LLMShape
from plait.sim.cost import speculation

ROWS = pd.read_csv(Path(__file__).parent / "data/sparse_attention_reference.csv", dtype=str)
TOLERANCE = 1e-6


def numbers(case: str) -> dict[str, float]:
    """The parameters in a case's name: letters before each number."""
    return {key: float(value) for key, value in re.findall(r"([A-Za-z]+)(-?\d+(?:\.\d+)?)", case)}


def integers(case: str) -> dict[str, int]:
    return {key: int(value) for key, value in numbers(case).items()}


def inputs(heads: int, tokens: int, width: int, group: int = 1) -> tuple[torch.Tensor, ...]:
    """q of all heads, k and v of the KV heads, float64 [heads, tokens, width]."""
    h = torch.arange(heads, dtype=torch.float64)[:, None, None]
    i = torch.arange(tokens, dtype=torch.float64)[:, None]
    j = torch.arange(width, dtype=torch.float64)
    kv = h[: heads // group]
    q = torch.sin(0.37 * (i + 1) * (j + 1) + 0.9 * h)
    k = torch.cos(0.23 * (i + 1) * (j + 2) + 0.5 * kv)
    v = torch.sin(0.11 * (i + 1) + 0.5 * j + 0.3 * kv)
    return q, k, v


def gemfilter(case: str) -> dict[str, Any]:
    p = integers(case)
    q, k, _ = inputs(p["H"], p["T"], p["d"], p["g"])
    chosen = attention.select_tokens(q[:, -1], k, keep=p["k"])
    return {
        "selected": chosen.tokens.tolist(),
        "raw_sum_0": chosen.scores[0],
        "pooled_0": chosen.pooled[0],
        "pooled_max": chosen.pooled.max(),
    }


def gemfilter_operations(case: str) -> dict[str, Any]:
    p = integers(case.removeprefix("llama31_8b_"))
    cost = gemfilter_cost(
        layers=32,
        prefix_layers=p["r"],
        width=4096,
        kv_width=1024,
        layer_parameters=218103808,
        prompt=p["n"],
        keep=p["k"],
    )
    return {
        "flops_two_pass": cost.two_pass_operations,
        "flops_full_prefill": cost.full_operations,
        "ratio": cost.ratio,
        "kv_bytes_fp16": cost.kv_bytes,
        "kv_bytes_full": cost.full_kv_bytes,
    }


def hip(case: str) -> dict[str, Any]:
    p = integers(case)
    q, k, v = inputs(1, p["T"], p["d"])
    found = attention.hip_attention(
        q, k, v, keep=p["k"], sinks=p["s"], window=p["w"], query_block=p["bq"], key_block=p["bk"]
    )
    dense = attention.causal_attention(q, k, v)
    return {
        "blocks_last_query_block": found.last_blocks[0].tolist(),
        "representative_evaluations": int(found.evaluations),
        "mask_nnz": int(found.pairs),
        "out_last_0": found.output[0, -1, 0],
        "out_sum": found.output.sum(),
        "max_abs_err_vs_dense": (found.output - dense).abs().max(),
    }


def lm_infinite(case: str) -> dict[str, Any]:
    p = integers(case)
    q, k, v = inputs(1, p["T"], p["d"])
    output = attention.lm_infinite_attention(
        q,
        k,
        v,
        attention.rotary_frequencies(p["d"]),
        sinks=p["g"],
        window=p["L"],
        limit=p["D"],
    )
    return {
        "nnz": attention.lambda_mask(p["T"], p["T"], p["g"], p["L"]).sum(),
        "out_last_0": output[0, -1, 0],
        "out_sum": output.sum(),
        "out_row_L_0": output[0, p["L"], 0],
    }


def flashdecodingpp(case: str) -> dict[str, Any]:
    p = numbers(case)
    i = torch.arange(int(p["n"]), dtype=torch.float64)
    found = attention.unified_max_sum(
        p["A"] * torch.sin(0.7 * (i + 1)),
        torch.cos(0.3 * (i + 1))[:, None],
        phi=p["phi"],
        low=p["a"],
        high=p["b"],
        parts=int(p["p"]),
    )
    return {
        "out": found.output[0],
        "recomputed": int(found.recomputed),
        "denominator": found.denominator,
    }


def flat(case: str) -> dict[str, Any]:
    p = integers(case)
    sizes = p["M"], p["N"], p["K"]
    return {
        "utilisation_pad8": flat_gemm.utilisation(p["M"], 8),
        "utilisation_pad64": flat_gemm.utilisation(p["M"], 64),
        "macs_pad8": flat_gemm.padded_macs(*sizes, 8),
        "macs_pad64": flat_gemm.padded_macs(*sizes, 64),
        "intensity_BN32": flat_gemm.intensity(*sizes, 32),
        "intensity_BN128": flat_gemm.intensity(*sizes, 128),
    }


def duo(case: str) -> dict[str, Any]:
    route, _, sizes = case.partition("_")
    p = integers(sizes)
    skips = {
        skip: duo_llm.duo_size(route, p["d"], p["b"], p["s"], gated=p["m"] == 3, skip=skip)
        for skip in ("ffn", "layer")
    }
    ffn = skips["ffn"]
    return {
        "macs_per_token_ffn_skip": ffn.macs_per_token,
        "macs_per_token_layer_skip": skips["layer"].macs_per_token,
        "stored_params": ffn.stored_parameters,
        "fraction_of_all_big": ffn.macs_per_token / ffn.all_big_macs,
    }


def duo_batch(case: str) -> dict[str, Any]:
    p = numbers(case)
    read = duo_llm.fraction_read(int(p["B"]), 4096, 256, big_share=p["pb"], small_share=p["ps"])
    return {"expected_ffn_weight_fraction_read": read}


def moe(case: str) -> dict[str, Any]:
    p = integers(case)
    distinct = expected_experts(p["E"], p["k"], p["B"])
    return {"expected_distinct": distinct, "tokens_per_active_expert": p["B"] * p["k"] / distinct}


def jetmoe_graph():
    """JetMoE-8B: experts of a dense decoder's feed-forward part, and of its q and o."""
    dense = LLMShape(
        name="jetmoe-8b",
        layers=24,
        hidden=2048,
        heads=16,
        kv_heads=16,
        head_dim=128,
        ffn=5632,
        vocab=32000,
        max_positions=4096,
        tied=True,
    )
    return MoE(experts=8, active=2, attention=True).change(load_graph(dense)).verify()


def jetmoe(case: str) -> dict[str, Any]:
    graph = jetmoe_graph()
    if case != "shape":
        workload = graph.bind("decode", batch=integers(case)["B"])
        return {"weight_bytes_per_decode_fp16": weight_bytes_read(workload)}
    weights = {op.path: op.cin * op.cout for op in graph.ops if op.kind == "experts"}
    return {
        "ffn_expert_params": sum(n for path, n in weights.items() if ".mlp." in path),
        "attn_expert_params": sum(n for path, n in weights.items() if ".self_attn." in path),
        "total_params_tied_no_bias_norm": stored_weights(graph),
        "active_params_incl_embedding": active_weights(graph),
        "kv_bytes_per_token_fp16": kv_bytes_per_token(graph.bind("decode")),
    }


def speculative(case: str) -> dict[str, Any]:
    p = numbers(case)
    return {
        "expected_tokens": speculation.expected_tokens(p["a"], p["g"]),
        "speedup": speculation.speedup(p["a"], p["g"], p["c"]),
        "moe8x2_distinct_verify_B1": expected_experts(8, 2, p["g"] + 1),
    }


METHODS: dict[str, Callable[[str], dict[str, Any]]] = {
    "gemfilter": gemfilter,
    "gemfilter_cost": gemfilter_operations,
    "hip": hip,
    "lm_infinite": lm_infinite,
    "flashdecodingpp": flashdecodingpp,
    "flat_gemm": flat,
    "duo_llm": duo,
    "duo_llm_batch": duo_batch,
    "moe_distinct": moe,
    "jetmoe8b": jetmoe,
    "speculative": speculative,
}


@pytest.mark.parametrize(
    ("method", "case"), list(ROWS.groupby(["method", "case"], sort=False).groups)
)
def test_every_row(method: str, case: str) -> None:
    got = METHODS[method](case)
    chosen = ROWS[(ROWS["method"] == method) & (ROWS["case"] == case)]
    assert len(chosen) > 0
    for quantity, text in zip(chosen["quantity"], chosen["value"], strict=True):
        value = got[quantity]
        if isinstance(value, list):
            assert value == [int(word) for word in text.split()], quantity
        elif isinstance(value, int):
            assert value == float(text), quantity
        else:
            assert float(value) == pytest.approx(float(text), rel=TOLERANCE), quantity


def test_float32_chooses_the_same() -> None:
    q, k, _ = inputs(8, 64, 16, 4)
    chosen = [
        attention.select_tokens(a[:, -1], b, keep=16).tokens
        for a, b in ((q, k), (q.float(), k.float()))
    ]
    assert chosen[0].tolist() == chosen[1].tolist()
    q, k, v = inputs(1, 128, 8)
    sizes = {"keep": 16, "sinks": 4, "window": 16, "query_block": 8, "key_block": 2}
    found = [
        attention.hip_attention(*(t.to(kind) for t in (q, k, v)), **sizes)
        for kind in (torch.float64, torch.float32)
    ]
    assert found[0].last_blocks[0].tolist() == found[1].last_blocks[0].tolist()


def test_the_mixture_shape_is_a_graph_that_binds() -> None:
    graph = jetmoe_graph()
    assert dataclasses.replace(graph, name="x").verify()
    heads = next(op.heads for op in graph.ops if op.kind == "attention")
    assert heads == 32
