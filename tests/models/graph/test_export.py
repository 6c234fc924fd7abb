"""Every family of transformers on the meta device, our decoder, and modules a user may write."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from plait.errors import GraphError
from plait.models.graph import Graph, export_module
from plait.models.llm import LLMShape, build_decoder, load_shape

transformers = pytest.importorskip("transformers")

BASE = {"vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
GATED = BASE | {"intermediate_size": 160, "num_key_value_heads": 2}
GPT2 = {"vocab_size": 128, "n_embd": 64, "n_layer": 3, "n_head": 4}
FAMILIES = {
    "llama": ("Llama", GATED),
    "mistral": ("Mistral", GATED | {"sliding_window": 16}),
    "qwen2": ("Qwen2", GATED),
    "qwen3": ("Qwen3", GATED | {"head_dim": 16}),
    "phi": ("Phi", BASE | {"intermediate_size": 160}),
    "phi3": ("Phi3", GATED | {"pad_token_id": 0}),
    "opt": ("OPT", BASE | {"ffn_dim": 160, "word_embed_proj_dim": 64}),
    "gpt2": ("GPT2", GPT2),
    "gemma": ("Gemma", GATED | {"head_dim": 16}),
    "gpt_neox": ("GPTNeoX", BASE | {"intermediate_size": 160}),
    "gptj": ("GPTJ", GPT2 | {"rotary_dim": 8}),
    "falcon": ("Falcon", BASE),
    "mixtral": ("Mixtral", GATED | {"num_local_experts": 4}),
}


def build(name: str, attention: str = "sdpa", device: str = "meta") -> nn.Module:
    family, fields = FAMILIES[name]
    config = getattr(transformers, f"{family}Config")(**fields)
    config._attn_implementation = attention
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def multiply_adds(graph: Graph, batch: int, query: int) -> float:
    """Multiply-adds of weights, and of q k^T and p v without causal halving."""
    work = graph.bind("prefill", batch, query).columns
    weights = work["tokens"] * work["cin"] * work["cout"] * work["experts_touched"]
    scores = 2 * batch * query * query * work["heads"] * work["head_dim"]
    return float((work["count"] * (weights + scores * (work["kind"] == "attention"))).sum())


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_transformers(name: str, attention: str) -> None:
    if name == "gptj" and attention == "sdpa":
        pytest.skip("transformers has no sdpa for GPT-J")
    module = build(name, attention)
    graph = export_module(module)
    assert graph.parameters == sum(p.numel() for p in module.parameters())
    assert graph.layers == (0, 1, 2)
    (attend,) = (op for op in graph.ops if op.kind == "attention")
    kv_heads = {"falcon": 1, "mixtral": 2}.get(
        name, 2 if "num_key_value_heads" in FAMILIES[name][1] else 4
    )
    assert (attend.count, attend.heads, attend.kv_heads, attend.head_dim) == (3, 4, kv_heads, 16)
    assert attend.causal
    assert attend.window == (16 if name == "mistral" else 0)
    assert sum(op.kv_cout * op.count for op in graph.ops) == 3 * 2 * kv_heads * 16
    (head,) = (op for op in graph.ops if op.is_output)
    assert (head.path, head.cin, head.cout, head.count) == ("lm_head", 64, 128, 1)
    assert {op.kind for op in graph.ops} >= {"linear", "norm", "activation", "embedding"}
    ropes = [op for op in graph.ops if op.kind == "rope"]
    assert [op.heads for op in ropes] in ([], [4, kv_heads], [kv_heads, 4])
    assert bool(ropes) == (name not in ("opt", "gpt2"))
    leftovers = {op.function for op in graph.ops if op.kind == "elementwise"}
    assert leftovers <= {"add", "mul", "sum"}


@pytest.mark.parametrize("name", ["llama", "gpt2", "phi3", "opt"])
def test_multiply_adds_are_those_that_torch_counts(name: str) -> None:
    module = build(name, "eager", device="cpu")  # torch counts no fused attention on a CPU
    batch, query = 2, 8
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(batch, query, dtype=torch.long), use_cache=False)
    ours = multiply_adds(export_module(module), batch, query)
    assert 2 * ours == counter.get_total_flops()


def test_llama_reads_as_its_layers() -> None:
    graph = export_module(build("llama"))
    assert [op.path for op in graph.ops] == [
        "embed_tokens",
        *(
            f"layers.*.{name}"
            for name in (
                "input_layernorm",
                "self_attn.q_proj",
                "self_attn.k_proj",
                "self_attn.v_proj",
                "self_attn.q_rope",
                "self_attn.k_rope",
                "self_attn.attention",
                "self_attn.o_proj",
                "add",
                "post_attention_layernorm",
                "mlp.gate_proj",
                "mlp.act_fn",
                "mlp.up_proj",
                "mlp.mul",
                "mlp.down_proj",
                "add_2",
            )
        ),
        "norm",
        "lm_head",
    ]


def test_fused_projections_stay_one_linear() -> None:
    fused = export_module(build("gpt2")).op("h.*.attn.c_attn")
    assert (fused.cin, fused.cout, fused.kv_cout, fused.has_bias) == (64, 192, 128, True)
    gate_up = export_module(build("phi3")).op("layers.*.mlp.gate_up_proj")
    assert (gate_up.cin, gate_up.cout) == (64, 320)


def test_layers_that_differ_stay_apart() -> None:
    """Gemma 2 slides its window in every other layer, and caps its scores."""
    config = transformers.Gemma2Config(**GATED | {"head_dim": 16, "num_hidden_layers": 4})
    config._attn_implementation = "eager"
    with torch.device("meta"):
        graph = export_module(transformers.AutoModelForCausalLM.from_config(config))
    windows = {
        graph.display_name(op): (op.window, op.layers) for op in graph.ops if op.kind == "attention"
    }
    assert windows == {
        "layers.0,2.self_attn.attention": (4096, (0, 2)),
        "layers.1,3.self_attn.attention": (0, (1, 3)),
    }
    order = [op.path for op in graph.unfold() if op.path.startswith("layers.1.")]
    assert order.index("layers.1.self_attn.attention") < order.index("layers.1.self_attn.o_proj")


@pytest.mark.parametrize("spelling", ["grouped_mm", "batched_mm"])
def test_experts_of_transformers(spelling: str) -> None:
    module = build("mixtral")
    module.config._experts_implementation = spelling
    graph = export_module(module)
    experts = {
        op.path: (op.cin, op.cout, op.experts, op.experts_active) for op in graph.ops if op.experts
    }
    mlp = "layers.*.mlp"
    assert experts == {
        f"{mlp}.gate.topk": (0, 0, 4, 2),
        f"{mlp}.experts.gate_up_proj": (64, 320, 4, 2),
        f"{mlp}.experts.down_proj": (160, 64, 4, 2),
    }


SHAPES = st.builds(
    lambda layers, groups, kv_heads, head_dim, ffn, experts, **switches: LLMShape(
        name="random",
        layers=layers,
        hidden=8 * head_dim,
        heads=groups * kv_heads,
        kv_heads=kv_heads,
        head_dim=2 * head_dim,
        ffn=ffn,
        vocab=37,
        max_positions=512,
        experts=experts if switches["gated"] and not switches["ffn_bias"] else 0,
        experts_active=min(2, experts) if switches["gated"] and not switches["ffn_bias"] else 0,
        **switches,
    ),
    layers=st.integers(1, 3),
    groups=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    head_dim=st.integers(1, 9),
    ffn=st.integers(3, 70),
    experts=st.sampled_from([0, 0, 1, 5]),
    gated=st.booleans(),
    norm=st.sampled_from(["rms_norm", "layer_norm"]),
    activation=st.sampled_from(["silu", "gelu", "gelu_tanh", "relu"]),
    position=st.sampled_from(["rope", "learned"]),
    tied=st.booleans(),
    qkv_bias=st.booleans(),
    output_bias=st.booleans(),
    ffn_bias=st.booleans(),
    head_bias=st.booleans(),
    qk_norm=st.booleans(),
    parallel=st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate])
@given(shape=SHAPES)
def test_a_random_decoder(shape: LLMShape) -> None:
    graph = export_module(build_decoder(shape))
    assert graph.parameters == shape.parameters
    attention = shape.hidden * (2 * shape.query_width + 2 * shape.kv_width)
    matrices = (3 if shape.gated else 2) * max(1, shape.experts_active)
    layer = attention + matrices * shape.hidden * shape.ffn + shape.experts * shape.hidden
    scores = 2 * 6 * shape.heads * shape.head_dim
    expected = 5 * 6 * (shape.layers * (layer + scores) + shape.hidden * shape.vocab)
    assert math.isclose(multiply_adds(graph, batch=5, query=6), expected, rel_tol=1e-12)
    assert len(list(graph.unfold())) == sum(op.count for op in graph.ops)
    recovered = graph.shape
    assert recovered is not None
    assert recovered.parameters == shape.parameters
    assert (recovered.ffn, recovered.heads, recovered.kv_heads) == (
        shape.ffn,
        shape.heads,
        shape.kv_heads,
    )


@pytest.mark.parametrize("past", [0, 9])
def test_a_cache_given_as_input_changes_nothing(past: int) -> None:
    shape = load_shape("llama-3-8b").with_(layers=2)
    module = build_decoder(shape)
    graph = export_module(module, module.example_inputs(3, 5, past))
    assert graph == export_module(module)


@pytest.mark.slow
def test_llama_2_7b_at_full_size() -> None:
    graph = export_module(build_decoder("llama-2-7b"))
    assert graph.parameters == 6_738_415_616
    assert graph.shape == load_shape("llama-2-7b")


def test_quantised_layers_keep_their_formats() -> None:
    from plait.models.quantize.swap import quantize_module

    shape = load_shape("smollm2-135m").with_(
        layers=3, vocab=64, hidden=192, heads=3, kv_heads=1, ffn=256
    )
    module = build_decoder(shape, "cpu")
    small = quantize_module(module, "bitmod4", 64, only="layers.1.*")
    graph = export_module(small)
    kept = graph.op("layers.1.mlp.down_proj")
    assert (kept.weight_format, kept.group_size, kept.weight_bits) == ("bitmod4", 64, 4 + 34 / 64)
    assert graph.op("layers.0,2.mlp.down_proj").weight_format == ""
    assert graph.parameters == shape.parameters
    assert graph.shape is not None
    table = graph.bind("decode", context=8).table.set_index("op")
    assert table.weight_bits["layers.1.mlp.down_proj"] == 4 + 34 / 64
    assert table.weight_bits["layers.0,2.mlp.down_proj"] == 16


class Block(nn.Module):
    """A block written by hand: inline norm, rotary by halves, eager attention, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(24))
        self.qkv = nn.Linear(24, 72, bias=False)
        self.out = nn.Linear(24, 24)
        self.gate = nn.Linear(24, 40)
        self.up = nn.Linear(24, 40)
        self.down = nn.Linear(40, 24)

    def norm(self, x: torch.Tensor) -> torch.Tensor:
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.gain

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        angle = torch.arange(x.shape[2])[:, None] * torch.arange(1, 5)
        cos, sin = angle.cos(), angle.sin()
        first, second = x[..., :4], x[..., 4:]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        q, k, v = (
            part.view(batch, tokens, 3, 8).transpose(1, 2)
            for part in self.qkv(self.norm(x)).chunk(3, -1)
        )
        scores = self.rotate(q) @ self.rotate(k).transpose(-1, -2) / math.sqrt(8)
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, 24)
        x = x + self.out(mixed)
        gate = self.gate(self.norm(x))
        return x + self.down(gate * torch.sigmoid(gate) * self.up(self.norm(x)))


def test_a_block_written_by_hand() -> None:
    graph = export_module(Block(), (torch.zeros(2, 7, 24),))
    found = [(op.kind, op.function) for op in graph.ops]
    assert found == [
        ("norm", "rms_norm"),
        ("linear", ""),
        ("rope", "query"),
        ("rope", "key"),
        ("attention", ""),
        ("linear", ""),
        ("elementwise", "add"),
        ("norm", "rms_norm"),
        ("linear", ""),
        ("activation", "silu"),
        ("norm", "rms_norm"),
        ("linear", ""),
        ("elementwise", "mul"),
        ("linear", ""),
        ("elementwise", "add"),
    ]
    attend = graph.ops[4]
    assert (attend.heads, attend.kv_heads, attend.head_dim, attend.causal) == (3, 3, 8, True)
    assert graph.op("qkv").kv_cout == 48
    assert not any(op.is_output for op in graph.ops)  # no logits without an embedding
    assert graph.shape is None


class Spelt(nn.Module):
    """Tokens clamped, positions and mask as inputs, complex rotary, attention weights returned."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor):
        x = self.embed(tokens.clamp(min=0))
        angles = positions[..., None] * torch.arange(1, 5)
        turn = torch.polar(torch.ones_like(angles, dtype=torch.float32), angles.float())

        def rotated(y: torch.Tensor) -> torch.Tensor:
            pairs = torch.view_as_complex(y.view(*y.shape[:2], 2, 4, 2))
            return torch.view_as_real(pairs * turn[:, :, None]).flatten(3).transpose(1, 2)

        values = self.v(x).view(*x.shape[:2], 2, 8).transpose(1, 2)
        scores = rotated(self.q(x)) @ rotated(self.k(x)).mT + mask
        weights = scores.softmax(-1)
        return weights @ values, weights


def test_a_module_of_other_spellings() -> None:
    tokens, positions = torch.zeros(3, 7, dtype=torch.long), torch.arange(7)[None]
    graph = export_module(Spelt(), (tokens, positions, torch.zeros(3, 1, 7, 7)))
    found = [(op.kind, op.function, op.heads) for op in graph.ops if op.kind != "linear"]
    assert found == [
        ("embedding", "", 0),
        ("rope", "query", 2),
        ("rope", "key", 2),
        ("attention", "", 2),
    ]
    assert not graph.op("attention").causal  # a mask that is given tells nothing
    assert graph.op("q_rope").width == 16
    assert {op.rows for op in graph.ops} == {"tokens"}


def test_only_the_last_token_needs_logits() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(50, 16)
            self.head = nn.Linear(16, 50)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(tokens)[:, -1])

    graph = export_module(Last())
    head = graph.op("head")
    assert head.rows == "sequences"
    assert head.is_output
    assert graph.bind("prefill", batch=3, context=10).table.tokens.tolist() == [30.0, 3.0]


class Odd(nn.Module):
    """A module with one op at the place "inner" that is given."""

    def __init__(self, function) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.inner = Inner(function)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.first(x))


class Inner(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.kernel = nn.Parameter(torch.ones(5, 1, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (lambda self, x: torch.fft.fft(x).real, "aten.fft_fft"),
        (lambda self, x: F.conv1d(x, self.kernel, groups=5), "aten.conv1d"),
        (lambda self, x: torch.linalg.inv(x @ x.mT), "aten.linalg_inv"),
        (lambda self, x: x.cumsum(1), "aten.cumsum"),
        (lambda self, x: x.softmax(-1), "aten.softmax"),
        (lambda self, x: x @ x.mT, "aten.matmul"),
        (lambda self, x: x.mean(-1, keepdim=True), "aten.mean"),
        (lambda self, x: x.sort(-1).values, "aten.sort"),
        (lambda self, x: x + (self.kernel @ torch.ones(3, 8))[:, 0], "aten.matmul"),
    ],
    ids=["fft", "conv", "inverse", "cumsum", "softmax", "product", "mean", "sort", "made weight"],
)
def test_an_op_that_is_not_understood_is_named_with_its_place(function, op: str) -> None:
    with pytest.raises(GraphError) as caught:
        export_module(Odd(function), (torch.zeros(2, 5, 8),))
    message = str(caught.value)
    assert op in message
    assert "inner" in message
    assert "\n" not in message


def test_what_torch_cannot_trace_is_one_line() -> None:
    with pytest.raises(GraphError, match="cannot trace"):
        export_module(nn.Linear(8, 8), (torch.zeros(2, 5),))
    with pytest.raises(GraphError, match="not a model"):
        export_module("llama")  # type: ignore[arg-type]


def test_export_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Dropout())
    module.train()
    export_module(module, (torch.zeros(1, 2, 8),))
    assert module.training
