"""The MatMul-free language model (arXiv 2406.02528) as torch modules.

Takes tokens, gives logits; all linears are ternary times INT8 (`BitLinear`), tokens are mixed by a
gated recurrence (`MLGRU`) whose state is one vector a layer: no keys, values, softmax or positions.
`decode` runs it one token at a time from a state. Mean magnitude, rounding and the formulas are
those of the authors' model; their fused kernels round exact ties of activations differently.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.errors import SpecError, unknown_name

__all__ = [
    "MLGRU",
    "BitLinear",
    "GatedUnit",
    "MatMulFree",
    "MatMulFreeShape",
    "load_matmul_free_shape",
]

_FFN_MULTIPLE = 256


@dataclass(frozen=True, slots=True)
class MatMulFreeShape:
    """Sizes of a MatMul-free model.

    >>> load_matmul_free_shape("matmul-free-1.3b").ffn
    5632
    """

    name: str
    layers: int
    hidden: int
    vocab: int = 32000

    @property
    def ffn(self) -> int:
        """Inner width: 8/3 of the hidden one, up to a multiple of 256."""
        return -(-(8 * self.hidden) // (3 * _FFN_MULTIPLE)) * _FFN_MULTIPLE

    @property
    def trits(self) -> int:
        """Ternary weights of all layers: 4 d^2 + 3 d ffn each."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)

    @property
    def parameters(self) -> int:
        """Trits, embedding and head (norms left out)."""
        return self.trits + 2 * self.vocab * self.hidden

    @property
    def state_values(self) -> int:
        """Values kept from token to token."""
        return self.layers * self.hidden


_SHAPES = {
    shape.name: shape
    for shape in (
        MatMulFreeShape("matmul-free-370m", 24, 1024),
        MatMulFreeShape("matmul-free-1.3b", 24, 2048),
        MatMulFreeShape("matmul-free-2.7b", 32, 2560),
    )
}


def load_matmul_free_shape(name: str) -> MatMulFreeShape:
    """The sizes of a published model."""
    if name not in _SHAPES:
        raise SpecError(unknown_name("MatMul-free model", name, _SHAPES))
    return _SHAPES[name]


def rms_norm(values: Tensor, weight: Tensor, eps: float) -> Tensor:
    """values / sqrt(mean square + eps) * weight, over the last axis."""
    return values * torch.rsqrt(values.square().mean(dim=-1, keepdim=True) + eps) * weight


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
        scale = self.weight.abs().mean().clamp(min=1e-5)
        return (self.weight / scale).round().clamp(-1, 1), scale

    def codes(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Activations as integers in -128..127, and codes a unit (..., 1)."""
        normed = rms_norm(inputs, self.norm, 1e-8)
        factor = 127 / normed.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
        return (normed * factor).round().clamp(-128, 127), factor

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
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
        hidden = torch.zeros_like(update[:, 0]) if state is None else state
        states = []
        for token in range(inputs.shape[1]):
            hidden = forget[:, token] * hidden + update[:, token]
            states.append(hidden)
        stacked = torch.stack(states, dim=1)
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
        self.mixers = nn.ModuleList(MLGRU(shape.hidden) for _ in range(shape.layers))
        self.units = nn.ModuleList(GatedUnit(shape.hidden, shape.ffn) for _ in range(shape.layers))
        self.norms = nn.Parameter(torch.ones(shape.layers, 2, shape.hidden))
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
        shares = torch.softmax(self.bounds, dim=0)
        return torch.cumsum(shares, dim=0) - shares[0]

    def _run(self, tokens: Tensor, states: list[Tensor | None]) -> tuple[Tensor, Tensor]:
        values, following = self.embedding(tokens), []
        bounds = self.lower_bounds()
        for layer, (mixer, unit) in enumerate(zip(self.mixers, self.units, strict=True)):
            normed = rms_norm(values, self.norms[layer, 0], 1e-6)
            mixed, history = mixer(normed, bounds[layer], states[layer])
            values = values + mixed
            values = values + unit(rms_norm(values, self.norms[layer, 1], 1e-6))
            following.append(history[:, -1])
        return self.lm_head(rms_norm(values, self.norm, 1e-6)), torch.stack(following)
