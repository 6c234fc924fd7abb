"""N:16 pruning: who stays, in what order, at what bits; widths by sensitivity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import plait
from plait.errors import FormatError
from plait.models.formats import unpack_codes
from plait.models.llm import Decoder, LLMShape
from plait.models.quantize import QuantizedLinear, llm_int8, quantize_mixed, sparse
from plait.models.quantize.activations import int8_activations, llm_int8_activations
from plait.models.quantize.layout import pack_positions, unpack_kept
from plait.models.quantize.metrics import compare, greedy_agreement, logits_of
from plait.models.quantize.mixed_precision import choose_widths

RNG = np.random.default_rng(9)
WEIGHT = RNG.standard_normal((32, 64)).astype(np.float32)


@pytest.mark.parametrize("kept", sparse.KEPT)
def test_rows_of_blocks_keep_n_of_16(kept: int) -> None:
    small = plait.quantize(WEIGHT, "int8", group_size=64, method="sparse", kept=kept)
    counts = small.kept.reshape(32, 4, 16).sum(axis=2)
    assert (counts == kept).all()
    values = np.abs(WEIGHT).reshape(32, 4, 16)
    lost = np.where(small.kept.reshape(values.shape), np.inf, values).min(axis=2)
    most = np.where(small.kept.reshape(values.shape), 0, values).max(axis=2)
    stay = np.where(small.kept.reshape(values.shape), values, np.inf).min(axis=2)
    assert lost.shape == most.shape
    assert (stay >= most).all()


@pytest.mark.parametrize("layout", ["index", "mask"])
def test_true_bits(layout: str) -> None:
    small = plait.quantize(
        WEIGHT, "int4", group_size=64, method="sparse", kept=8, layout=layout, scale_bits=None
    )
    places = 0.5 * 4 if layout == "index" else 1.0
    assert small.bits_per_weight == 0.5 * 4 + places + 8 / 256 + 32 / 64


def test_kept_values_lie_in_ascending_column_order() -> None:
    """What the sparse multiplexer reads: 4 bits a kept value, block after block of a row."""
    small = plait.quantize(WEIGHT, "int4", group_size=64, method="sparse", kept=4, layout="index")
    parts = pack_positions(small.kept, "index")
    columns = unpack_codes(parts["kept_index"], int(small.kept.sum()), 4).reshape(32, 4, 4)
    assert (np.diff(columns.astype(int), axis=2) > 0).all()
    expected = np.stack([np.flatnonzero(row) % 16 for row in small.kept]).reshape(32, 4, 4)
    assert (columns == expected).all()


@given(seed=st.integers(0, 2**32 - 1), layout=st.sampled_from(["index", "mask"]))
@settings(max_examples=30, deadline=None)
def test_positions_come_back(seed: int, layout: str) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.choice(sparse.KEPT, (2, 3))
    kept = sparse.kept_weights(rng.standard_normal((32, 48)) ** 2, counts)
    again, found = unpack_kept(pack_positions(kept, layout), kept.shape)
    assert found == layout
    assert (again == kept).all()


def test_blocks_of_a_density_keep_the_most_importance() -> None:
    important = np.abs(WEIGHT.astype(np.float64)) * np.linspace(0.1, 4, 64)
    counts = sparse.choose_counts(important, 0.5)
    assert set(counts.reshape(-1)) <= set(sparse.KEPT)
    assert counts.mean() / 16 <= 0.5
    chosen = important[sparse.kept_weights(important, counts)].sum()
    uniform = important[sparse.kept_weights(important, 8)].sum()
    assert chosen >= uniform
    assert counts[:, 3].mean() > counts[:, 0].mean()


def test_wanda_keeps_what_meets_large_inputs() -> None:
    inputs = np.ones((4, 64))
    inputs[:, ::2] = 50
    small = plait.quantize(
        WEIGHT, "int8", group_size=64, method="sparse", kept=8, importance="wanda", inputs=inputs
    )
    assert small.kept[:, ::2].mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kept": 5}, "expected 0, 2, 4, 8 or 16"),
        ({"density": 0.0}, "above 0 to 1"),
        ({"kept": 8, "density": 0.5}, "two wishes"),
        ({"importance": "luck"}, "magnitude or wanda"),
        ({"importance": "wanda"}, "needs calibration data"),
        ({"layout": "tree"}, "mask or index"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        plait.quantize(WEIGHT, "int4", method="sparse", **options)


def test_a_ragged_matrix_is_refused() -> None:
    with pytest.raises(FormatError, match="multiples of 16"):
        plait.quantize(WEIGHT[:, :50], "int4", method="sparse")


def test_widths_go_where_the_error_is() -> None:
    errors = {
        "calm": {2: 0.02, 3: 0.01, 4: 0.005, 8: 0.0},
        "wild": {2: 2.0, 3: 1.0, 4: 0.5, 8: 0.0},
    }
    sizes = {"calm": 100, "wild": 100}
    assert choose_widths(errors, sizes, 2.0) == {"calm": 2, "wild": 2}
    assert choose_widths(errors, sizes, 3.0) == {"calm": 2, "wild": 4}
    assert choose_widths(errors, sizes, 8.0) == {"calm": 8, "wild": 8}
    with pytest.raises(FormatError, match="expected 2 or more"):
        choose_widths(errors, sizes, 1.5)


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    sizes = {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 128}
    model = Decoder(LLMShape(name="tiny", **sizes, vocab=64, max_positions=64)).eval()
    return model.requires_grad_(False)


def test_a_module_at_an_average_width(tiny: torch.nn.Module) -> None:
    tokens = torch.arange(48).reshape(2, 24)
    small = quantize_mixed(tiny, 3.5, tokens, group_size=32, method="sparse", density=0.75)
    layers = [m for m in small.modules() if isinstance(m, plait.models.quantize.QuantizedLinear)]
    bits = sum(int(m.format[3:]) * m.in_features * m.out_features for m in layers)
    assert 3.0 < bits / sum(m.in_features * m.out_features for m in layers) <= 3.5
    assert torch.isfinite(logits_of(small, tokens)).all()


def test_a_module_calibrates_by_tokens(tiny: torch.nn.Module) -> None:
    tokens = torch.arange(64).reshape(2, 32)
    plain = plait.quantize(tiny, "int3-asym", group_size=32)
    better = plait.quantize(tiny, "int3-asym", group_size=32, method="gptq", inputs=tokens)
    exact = logits_of(tiny, tokens)
    errors = [
        (logits_of(model, tokens) - exact).square().mean().item() for model in (better, plain)
    ]
    assert errors[0] < errors[1]


def test_int8_activations_only_while_open(tiny: torch.nn.Module) -> None:
    small = plait.quantize(tiny, "int8", group_size="channel")
    tokens = torch.arange(16)[None]
    before = logits_of(small, tokens)
    with int8_activations(small):
        rounded = logits_of(small, tokens)
    assert torch.equal(logits_of(small, tokens), before)
    difference = (rounded - before).abs().max() / before.abs().max()
    assert 0 < difference < 0.05


def test_outlier_columns_are_those_of_llm_int8() -> None:
    """The hook before a linear is the method's own product, outlier columns and all."""
    rng = np.random.default_rng(3)
    inputs = rng.standard_normal((7, 64)).astype(np.float32)
    inputs[2, 9], inputs[4, 40] = 11.0, -6.5
    weight = (0.05 * rng.standard_normal((48, 64))).astype(np.float32)
    expected, _ = llm_int8.linear(inputs, weight)
    layer = QuantizedLinear(plait.quantize(weight, "int8", "channel", "llm-int8"))
    with llm_int8_activations(layer):
        got = layer(torch.from_numpy(inputs)).numpy()
    assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(layer(torch.from_numpy(inputs)).numpy() - expected).max() > 1e-4


class Letters:
    """A tokenizer of one token a letter."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(letter) % 64 for letter in text]


def test_measures_beyond_perplexity(tiny: torch.nn.Module) -> None:
    text, small = "the quick brown fox " * 40, plait.quantize(tiny, "int2", group_size=32)
    same = compare(tiny, tiny, text, 32, 4, Letters())
    assert (same.kl_divergence, same.top1_agreement) == (0, 1)
    assert same.perplexity == same.perplexity_of_original
    other = compare(tiny, small, text, 32, 4, Letters())
    assert other.kl_divergence > 0
    assert 0 <= other.top1_agreement < 1
    assert greedy_agreement(tiny, tiny, text, 2, 8, 8, Letters()) == 1
    assert greedy_agreement(tiny, small, text, 2, 8, 8, Letters()) < 1
