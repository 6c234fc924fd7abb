"""The MatMul-free language model (arXiv 2406.02528) as torch modules.

Takes tokens, gives logits; all linears are ternary times INT8 (`BitLinear`), tokens are mixed by a
gated recurrence (`MLGRU`) whose state is one vector a layer: no keys, values, softmax or positions.
`decode` runs it one token at a time from a state. `torch.export` sees ops of ours (tokens to INT8,
ternary product, recurrence, bounds), so that a graph does not unroll the tokens. Mean magnitude,
rounding and the formulas are those of the authors' model; their fused kernels round exact ties of
activations differently.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.models.llm.matmul_free_shape import MatMulFreeShape, load_matmul_free_shape

__all__ = [
    "MLGRU",
    "BitLinear",
    "GatedUnit",
    "MatMulFree",
    "MatMulFreeShape",
    "load_matmul_free_shape",
]


def rms_norm(values: Tensor, weight: Tensor, eps: float) -> Tensor:
    """values / sqrt(mean square + eps) * weight, over the last axis."""
    if torch.compiler.is_exporting():  # one op: two norms in a row would look like one
        return F.rms_norm(values, weight.shape, weight, eps)
    return values * torch.rsqrt(values.square().mean(dim=-1, keepdim=True) + eps) * weight


def ternary(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights in -1, 0, 1, and their one scale."""
    scale = weight.abs().mean().clamp(min=1e-5)
    return (weight / scale).round().clamp(-1, 1), scale


def token_codes(values: Tensor) -> tuple[Tensor, Tensor]:
    """Activations as integers in -128..127, and codes a unit (..., 1)."""
    factor = 127 / values.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
    return (values * factor).round().clamp(-128, 127), factor


def recur(forget: Tensor, update: Tensor, state: Tensor) -> Tensor:
    """h = forget h + update from token to token.

    Args:
        forget, update: (batch, tokens, hidden).
        state: (batch, hidden), of the token before the first.
    """
    states = []
    for token in range(update.shape[1]):
        state = forget[:, token] * state + update[:, token]
        states.append(state)
    return torch.stack(states, dim=1)


def rising(bounds: Tensor) -> Tensor:
    """Running sums over layers of a softmax over layers, less its first: (layers, hidden)."""
    shares = torch.softmax(bounds, dim=0)
    return torch.cumsum(shares, dim=0) - shares[0]


@torch.library.custom_op("plait::forget_bounds", mutates_args=())
def forget_bounds(bounds: Tensor) -> Tensor:
    """`rising` as one op: constants of a model, which a machine keeps, so that it costs nothing."""
    return rising(bounds)


@torch.library.custom_op("plait::quantise_tokens", mutates_args=())
def quantise_tokens(values: Tensor) -> Tensor:
    """Activations rounded to INT8 codes of their token, in their own unit."""
    codes, factor = token_codes(values)
    return codes / factor


@torch.library.custom_op("plait::ternary_linear", mutates_args=())
def ternary_linear(values: Tensor, weight: Tensor) -> Tensor:
    """(..., inputs) times ternary weights, rounded from (outputs, inputs)."""
    trits, scale = ternary(weight)
    return F.linear(values, trits) * scale


@torch.library.custom_op("plait::gated_scan", mutates_args=())
def gated_scan(forget: Tensor, update: Tensor, state: Tensor) -> Tensor:
    """`recur` as one op."""
    return recur(forget, update, state)


forget_bounds.register_fake(torch.empty_like)
quantise_tokens.register_fake(torch.empty_like)
gated_scan.register_fake(lambda forget, update, state: torch.empty_like(update))


@ternary_linear.register_fake
def _(values: Tensor, weight: Tensor) -> Tensor:
    return values.new_empty(*values.shape[:-1], weight.shape[0])


class BitLinear(nn.Module):
    """RMS norm, INT8 a token, ternary weights: the product needs only additions.

    >>> layer = BitLinear(4, 2).double()
    >>> layer(torch.ones(1, 4).double()).shape
    torch.Size([1, 2])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.norm = nn.Parameter(torch.ones(inputs))
        nn.init.normal_(self.weight, std=0.02)

    def trits(self) -> tuple[Tensor, Tensor]:
        """Weights in -1, 0, 1, and their one scale."""
        return ternary(self.weight)

    def codes(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Activations as integers in -128..127, and codes a unit (..., 1)."""
        return token_codes(rms_norm(inputs, self.norm, 1e-8))

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        if torch.compiler.is_exporting():
            normed = rms_norm(inputs, self.norm, 1e-8)
            return ternary_linear(quantise_tokens(normed), self.weight)
        (trits, scale), (codes, factor) = self.trits(), self.codes(inputs)
        return F.linear(codes, trits) * scale / factor


class MLGRU(nn.Module):
    """The token mixer: h = f h + (1 - f) silu(i); output = W_o (norm(g) silu(h)).

    The norm is on the gate g and the activation on the state h.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.i, self.f, self.g, self.o = (BitLinear(hidden, hidden) for _ in range(4))
        self.gate_norm = nn.Parameter(torch.ones(hidden))

    def forward(
        self, inputs: Tensor, lower_bound: Tensor | float, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(batch, tokens, hidden) and a state (batch, hidden) to outputs and states of all tokens.

        Args:
            lower_bound: of the forget gate, in 0..1, one or a channel.
            state: h of the token before; None = zeros.
        """
        forget = lower_bound + (1 - lower_bound) * torch.sigmoid(self.f(inputs))
        update = F.silu(self.i(inputs)) * (1 - forget)
        before = torch.zeros_like(update[:, 0]) if state is None else state
        scan = gated_scan if torch.compiler.is_exporting() else recur
        stacked = scan(forget, update, before)
        gate = rms_norm(self.g(inputs), self.gate_norm, 1e-5)
        return self.o(gate * F.silu(stacked)), stacked


class GatedUnit(nn.Module):
    """The channel mixer: W_2 (silu(gate) up), gate and up from one matrix."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_up, self.down = BitLinear(hidden, 2 * inner), BitLinear(inner, hidden)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., hidden) to the same."""
        gate, up = self.gate_up(inputs).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Layer(nn.Module):
    """Token mixer and channel mixer, each behind a norm and added to what came in."""

    def __init__(self, shape: MatMulFreeShape) -> None:
        super().__init__()
        self.mixer = MLGRU(shape.hidden)
        self.unit = GatedUnit(shape.hidden, shape.ffn)
        self.mixer_norm = nn.Parameter(torch.ones(shape.hidden))
        self.unit_norm = nn.Parameter(torch.ones(shape.hidden))

    def forward(
        self, values: Tensor, lower_bound: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(batch, tokens, hidden) to the same, and the state after the last token."""
        normed = rms_norm(values, self.mixer_norm, 1e-6)
        mixed, history = self.mixer(normed, lower_bound, state)
        values = values + mixed
        return values + self.unit(rms_norm(values, self.unit_norm, 1e-6)), history[:, -1]


class MatMulFree(nn.Module):
    """A MatMul-free language model with random weights.

    >>> model = MatMulFree(MatMulFreeShape("tiny", 2, 16, vocab=32))
    >>> model(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 32])
    """

    def __init__(self, shape: MatMulFreeShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.bounds = nn.Parameter(torch.zeros(shape.layers, shape.hidden))
        self.norm = nn.Parameter(torch.ones(shape.hidden))
        self.lm_head = nn.Linear(shape.hidden, shape.vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, window) to logits (batch, window, vocab)."""
        return self._run(tokens, [None] * self.shape.layers)[0]

    def decode(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One token a sequence (batch) and a state to logits (batch, vocab) and the next state.

        Args:
            state: (layers, batch, hidden) from the call before; None at the start.
        """
        states = [None] * self.shape.layers if state is None else list(state)
        logits, following = self._run(tokens[:, None], states)
        return logits[:, 0], following

    def lower_bounds(self) -> Tensor:
        """Of the forget gates, (layers, hidden): they rise with depth from 0."""
        return (forget_bounds if torch.compiler.is_exporting() else rising)(self.bounds)

    def _run(self, tokens: Tensor, states: list[Tensor | None]) -> tuple[Tensor, Tensor]:
        values, following = self.embedding(tokens), []
        bounds = self.lower_bounds()
        for number, layer in enumerate(self.layers):
            values, state = layer(values, bounds[number], states[number])
            following.append(state)
        return self.lm_head(rms_norm(values, self.norm, 1e-6)), torch.stack(following)
