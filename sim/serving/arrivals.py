"""Generators of requests: when they arrive and how long they are, drawn with a seed.

A description is YAML or a mapping:

    requests: 10000
    arrivals: {kind: poisson, rate_per_s: 5}       # or gamma with burstiness, or constant
    lengths: {kind: log_normal, context: 1155, generated: 211}   # or fixed, or trace with a path
    seed: 0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from plait.sim.identity import identity
from plait.sim.serving.request import CHUNK, COLUMNS, check, load_requests
from plait.sim.spec.base import Integer, Number, Section
from plait.sim.spec.complaint import first_complaint
from plait.sim.spec.yaml_file import Document, read_yaml

__all__ = ["Generated", "Load", "load_generated"]

Rate = Annotated[Number, Field(gt=0, le=1e9, description="Requests a second in the mean")]
Tokens = Annotated[Integer, Field(ge=1, le=1 << 24)]


class Poisson(Section):
    """Independent arrivals."""

    kind: Literal["poisson"]
    rate_per_s: Rate


class Gamma(Section):
    """Intervals of a gamma distribution."""

    kind: Literal["gamma"]
    rate_per_s: Rate
    burstiness: Number = Field(
        gt=0, le=100, description="Deviation of the intervals over their mean; 1: poisson"
    )


class Constant(Section):
    """Equal intervals."""

    kind: Literal["constant"]
    rate_per_s: Rate


class Fixed(Section):
    """All requests alike."""

    kind: Literal["fixed"]
    context: Tokens = Field(description="Tokens of a prompt")
    generated: Tokens = Field(description="Tokens of an answer")


class LogNormal(Section):
    """Lengths whose logarithm is normal, prompt and answer independent."""

    kind: Literal["log_normal"]
    context: Number = Field(ge=1, le=1e7, description="Mean tokens of a prompt")
    generated: Number = Field(ge=1, le=1e7, description="Mean tokens of an answer")
    sigma: Number = Field(1.0, ge=0, le=4, description="Deviation of the logarithm")
    longest: Tokens = Field(32768, description="Longer ones are cut to this")


class Sampled(Section):
    """Pairs of lengths drawn from a trace."""

    kind: Literal["trace"]
    path: str = Field(description="A trace; its arrivals are not used")


class Load(Section):
    """Requests to generate."""

    requests: Integer = Field(ge=1, le=1 << 40, description="How many")
    arrivals: Poisson | Gamma | Constant = Field(discriminator="kind", description="When")
    lengths: Fixed | LogNormal | Sampled = Field(discriminator="kind", description="How long")
    seed: Integer = Field(0, ge=0, le=1 << 62, description="Of the draws")


@dataclass(frozen=True, slots=True)
class Generated:
    """Requests drawn from a description; every reading draws the same."""

    load: Load
    name: str

    @property
    def identity(self) -> str:
        """Hash of the description, the trace that lengths are drawn from included."""
        return identity(self.load.model_dump())

    def frames(self) -> Iterator[pd.DataFrame]:
        """Draw the requests, piece by piece; a piece has a generator of its own."""
        now, pool = 0.0, _pool(self.load)
        for begin in range(0, self.load.requests, CHUNK):
            count = min(CHUNK, self.load.requests - begin)
            draw = np.random.default_rng([self.load.seed, begin // CHUNK])
            arrival = now + np.cumsum(_intervals(self.load, draw, count))
            now = float(arrival[-1])
            lengths = _lengths(self.load, draw, count, pool)
            yield pd.DataFrame(dict(zip(COLUMNS, (arrival, *lengths), strict=True)))


def load_generated(source: str | Path | Mapping[str, Any]) -> Generated:
    """Load a generator's description.

    >>> source = load_generated({"requests": 2, "arrivals": {"kind": "constant", "rate_per_s": 4},
    ...                          "lengths": {"kind": "fixed", "context": 10, "generated": 3}})
    >>> next(source.frames())["arrival_s"].tolist()
    [0.25, 0.5]
    """
    if isinstance(source, Mapping):
        document = Document(dict(source), "requests", {})
    else:
        document = read_yaml(source)
    try:
        return Generated(Load.model_validate(document.data), document.source)
    except ValidationError as error:
        complaint = first_complaint(error, Load)
        raise complaint.error(document.place(complaint.key)) from None


def _intervals(load: Load, draw: np.random.Generator, count: int) -> NDArray[np.float64]:
    mean = 1 / load.arrivals.rate_per_s
    if isinstance(load.arrivals, Constant):
        return np.full(count, mean)
    if isinstance(load.arrivals, Poisson):
        return draw.exponential(mean, count)
    shape = load.arrivals.burstiness**-2
    return draw.gamma(shape, mean / shape, count)


def _pool(load: Load) -> NDArray[np.int64] | None:
    if not isinstance(load.lengths, Sampled):
        return None
    source = load_requests(load.lengths.path)
    check(source)
    frames = [frame[list(COLUMNS[1:])] for frame in source.frames()]
    return pd.concat(frames).to_numpy(np.int64)


def _lengths(
    load: Load, draw: np.random.Generator, count: int, pool: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = load.lengths
    if pool is not None:
        rows = pool[draw.integers(0, len(pool), count)]
        return rows[:, 0], rows[:, 1]
    if isinstance(lengths, Fixed):
        return np.full(count, lengths.context), np.full(count, lengths.generated)
    assert isinstance(lengths, LogNormal)
    drawn = []
    for mean in (lengths.context, lengths.generated):
        values = draw.lognormal(np.log(mean) - lengths.sigma**2 / 2, lengths.sigma, count)
        drawn.append(np.clip(np.round(values), 1, lengths.longest).astype(np.int64))
    return drawn[0], drawn[1]
