"""What FlightLLM (FPGA 2024, arXiv 2401.03868) states of itself, worked out again.

Every figure that is not ours, rates of GPUs, watts and dollars, is an input with a name and a
source: sim/published/flightllm_platforms.csv and flightllm_requests.csv. Ours come from the
published model of the family, as `simulate` gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from plait.errors import SpecError, unknown_name
from plait.measured import graph, reference
from plait.sim import load_accelerator, simulate
from plait.sim.families.sparse_dsp_differences import ratio_of_ratios

__all__ = [
    "MACHINES",
    "Claim",
    "Platform",
    "Request",
    "claims",
    "implied_price_usd",
    "platforms",
    "requests",
]

MACHINES = ("flightllm-vhk158", "flightllm-u280")
_DECODE_BUCKET = 16  # tokens; a program serves every length up to the next multiple
_REPRODUCED = 0.05  # of the claimed ratio: the rates and powers behind it have two digits


@dataclass(frozen=True, slots=True)
class Platform:
    """A board or GPU in the paper's comparison, as its sources give it.

    Args:
        name: what it is called here.
        tokens_per_s: of Llama-2-7B, batch 1.
        power_w, price_usd: None where no source states it.
    """

    name: str
    tokens_per_s: float
    power_w: float | None
    price_usd: float | None


class Request(NamedTuple):
    """A prompt and its continuation on one machine: ours, and what the GPU of the log gave.

    Args:
        machine: its name.
        prompt, generated: tokens.
        prefill_s, decode_s: seconds of the published model.
        tokens_per_s: generated tokens over decode time.
        tokens_per_joule: of the whole request; None where the board's power is not stated.
        over_gpu_decode: rate over that of the GPU, decode alone.
        over_gpu_naive: the same over the GPU without vLLM.
    """

    machine: str
    prompt: int
    generated: int
    prefill_s: float
    decode_s: float
    tokens_per_s: float
    tokens_per_joule: float | None
    over_gpu_decode: float
    over_gpu_naive: float


class Claim(NamedTuple):
    """One claim of the paper.

    Args:
        what: in words.
        claimed: ratio in the paper.
        ours: the same ratio, recomputed; None where an input is missing.
        remark: which inputs, or what is missing.
    """

    what: str
    claimed: float
    ours: float | None
    remark: str

    @property
    def is_reproduced(self) -> bool:
        """Within 5 %."""
        return self.ours is not None and abs(self.ours / self.claimed - 1) <= _REPRODUCED


def platforms() -> dict[str, Platform]:
    """The named inputs."""
    return {
        row["name"]: Platform(
            row["name"],
            float(row["tokens_per_s"]),
            float(row["power_w"]) if row["power_w"] else None,
            float(row["price_usd"]) if row["price_usd"] else None,
        )
        for row in reference("flightllm_platforms.csv")
    }


def requests(machine: str) -> Iterator[Request]:
    """The six requests of the authors' sample log on a machine, by the published model."""
    if machine not in MACHINES:
        raise SpecError(unknown_name("machine of the paper", machine, MACHINES), where="machine")
    described = load_accelerator(machine)
    power_w = getattr(described, "power_w", None)
    for row in reference("flightllm_requests.csv"):
        prompt, generated = int(row["prompt"]), int(row["generated"])
        prefill_s = _step_s(machine, "prefill", prompt)
        # token i attends to the prompt, what came before it, and itself
        decode_s = sum(
            _step_s(machine, "decode", -(-(prompt + i) // _DECODE_BUCKET) * _DECODE_BUCKET)
            for i in range(1, generated + 1)
        )
        rate = generated / decode_s
        yield Request(
            machine,
            prompt,
            generated,
            prefill_s,
            decode_s,
            rate,
            generated / (power_w * (prefill_s + decode_s)) if power_w else None,
            rate / float(row["gpu_vllm_tokens_per_s"]),
            rate / float(row["gpu_naive_tokens_per_s"]),
        )


def claims(prices_usd: Mapping[str, float] | None = None) -> Iterator[Claim]:
    """The ratios of the paper, recomputed from the named inputs and from our rates.

    Args:
        prices_usd: prices by platform that no source states, as ``{"u280": 7500}``.
    """
    known = _priced(dict(prices_usd or {}))
    rate = 1 / _step_s("flightllm-u280", "decode", 128)
    modelled = replace(known["u280"], tokens_per_s=rate)
    yield _energy(known["u280"], known["v100s"], 6.0, "rates and watts of the paper's Fig. 1")
    yield _energy(modelled, known["v100s"], 6.0, f"our {rate:.1f} token/s at 128 tokens")
    yield _energy(known["u280"], known["a100"], 4.2, "")
    yield _cost(known["u280"], known["v100s"], 1.8)
    yield _cost(known["u280"], known["a100"], 1.4)
    ratios = [request.over_gpu_decode for request in requests("flightllm-vhk158")]
    span = f"mean of six requests, {min(ratios):.2f} to {max(ratios):.2f}"
    yield Claim(
        "throughput, vhk158 over a100",
        1.2,
        sum(ratios) / len(ratios),
        f"{span}, decode; the log names no GPU",
    )


def implied_price_usd(claimed: float = 1.8) -> float:
    """Price of a U280 at which its cost efficiency over the V100S is what is claimed."""
    known = platforms()
    board, gpu = known["u280"], known["v100s"]
    return board.tokens_per_s / gpu.tokens_per_s * (gpu.price_usd or 0.0) / claimed


def _energy(board: Platform, gpu: Platform, claimed: float, remark: str) -> Claim:
    what = f"energy efficiency, {board.name} over {gpu.name}"
    if board.power_w is None or gpu.power_w is None:
        return Claim(what, claimed, None, f"the power of the {gpu.name} is not stated")
    ours = ratio_of_ratios(board.tokens_per_s, board.power_w, gpu.tokens_per_s, gpu.power_w)
    return Claim(what, claimed, ours, remark)


def _cost(board: Platform, gpu: Platform, claimed: float) -> Claim:
    what = f"cost efficiency, {board.name} over {gpu.name}"
    if gpu.price_usd is None:
        return Claim(what, claimed, None, "no price is stated")
    if board.price_usd is None:
        needed = f"{implied_price_usd(claimed):.0f} USD beside {gpu.price_usd:.0f} USD"
        remark = f"the price of the {board.name} is not stated; {claimed} needs {needed}"
        return Claim(what, claimed, None, remark)
    ours = ratio_of_ratios(board.tokens_per_s, board.price_usd, gpu.tokens_per_s, gpu.price_usd)
    return Claim(what, claimed, ours, f"{board.price_usd:.0f} USD beside {gpu.price_usd:.0f} USD")


def _priced(prices_usd: Mapping[str, float]) -> dict[str, Platform]:
    known = platforms()
    for name, price in prices_usd.items():
        if name not in known:
            raise SpecError(unknown_name("platform", name, known), where="prices_usd")
        if not price > 0:
            raise SpecError("not a price", where=f"prices_usd: {name}", got=price, expected="USD")
        known[name] = replace(known[name], price_usd=price)
    return known


@cache
def _step_s(machine: str, phase: str, tokens: int) -> float:
    model = graph("llama-2-7b")
    return float(
        simulate(model, machine, phase=phase, context=tokens, fidelity="published").seconds
    )
