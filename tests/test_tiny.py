"""The whole braid on a toy model, from simplest to whole: format, weights, graph, time, page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import plait
from plait.models import formats
from plait.models.llm import LLMShape, build_decoder

SHAPE = LLMShape(
    name="tiny",
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=16,
    ffn=128,
    vocab=96,
    max_positions=64,
)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    decoder = build_decoder(SHAPE, device="cpu")
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.05)
    return decoder.eval()


def test_1_a_format_gives_its_values_back() -> None:
    bitmod4 = formats.get("bitmod4")
    grid = bitmod4.grid(2)
    assert np.array_equal(bitmod4.decode(bitmod4.encode(grid, 2), 2), grid)


def test_2_a_matrix_is_quantised() -> None:
    weight = np.random.default_rng(1).normal(size=(8, 128)).astype(np.float32)
    tensor = plait.quantize(weight, "bitmod4", group_size=64)
    error = np.square(tensor.dequantize() - weight).mean() / np.square(weight).mean()
    assert 0 < error < 0.02


def test_3_the_model_computes_with_those_weights(module: nn.Module) -> None:
    tokens = torch.arange(12).reshape(1, 12)
    small = plait.quantize(module, "bitmod4", group_size=64)
    with torch.no_grad():
        exact, rounded = module(tokens)[0], small(tokens)[0]
    assert rounded.shape == exact.shape == (1, 12, SHAPE.vocab)
    assert 0 < (rounded - exact).norm() / exact.norm() < 0.5


def test_4_the_exported_graph_keeps_the_formats(module: nn.Module) -> None:
    graph = plait.export(plait.quantize(module, "bitmod4", group_size=64))
    table = graph.bind("decode", batch=1, context=16).table
    linear = table[(table["kind"] == "linear") & ~table["is_output"]]
    assert set(linear["weight_format"]) == {"bitmod4"}
    assert (linear["count"] * linear["cin"] * linear["cout"]).sum() == sum(
        weight.numel()
        for name, weight in module.named_parameters()
        if weight.ndim == 2 and "layers" in name
    )


def test_5_a_machine_takes_cycles_for_it(module: nn.Module) -> None:
    graph = plait.export(plait.quantize(module, "bitmod4", group_size=64))
    for fidelity in ("published", "closed_form"):
        report = plait.simulate(graph, "bitmod-small", context=16, fidelity=fidelity)
        assert report.cycles == report.table["cycles"].sum() > 0
        rungs = report.table[list(report.rungs)].sum(axis="columns")
        assert (rungs == report.table["cycles"]).all()
    assert json.loads(report.to_json())["totals"]["cycles"] == report.cycles


def test_6_the_report_becomes_a_page(module: nn.Module, tmp_path: Path) -> None:
    report = plait.simulate(plait.export(module), "bitmod-small", context=16)
    report.to_html(tmp_path / "page.html")
    assert "tiny on bitmod-small" in (tmp_path / "page.html").read_text(encoding="utf-8")
