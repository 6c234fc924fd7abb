"""Attention jobs as one memory image: descriptors with queries and segments, caches, room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.attention.layout import Geometry
from plait.models.golden import attention as unit
from plait.models.golden.attention import Partial, Widths
from plait.models.golden.attention_operands import Cache, Query, score_shifts, tokens_of
from plait.models.golden.fixed import Integers

__all__ = ["MAGIC", "Job", "Program", "assemble", "encode_partial"]

MAGIC = 0x41
_SLACK = 400  # cycles of latencies a job
Words = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Job:
    """Query heads of one KV head over segments of its cache.

    Args:
        query: of at most the device's query heads.
        cache: INT8, or another integer format in 8 bits an element.
        segments: int64 [segments, 2], first token and number of tokens.
        value_shift: unit of the accumulators; shards that are combined share it.
        unified: the unified maximum, or None.
    """

    query: Query
    cache: Cache
    segments: NDArray[np.int64]
    value_shift: int
    unified: int | None = None

    @property
    def tokens(self) -> int:
        """Of all segments."""
        return int(self.segments[:, 1].sum())


@dataclass(frozen=True, slots=True)
class Program:
    """What the host puts into memory, and where the answers will be.

    Args:
        blocks: {address: uint8 [words, port bytes]}; the descriptors begin at address 0.
        results_at, results_words: the region of all results, in order.
    """

    geometry: Geometry
    widths: Widths
    jobs: tuple[Job, ...] = field(repr=False)
    blocks: Mapping[int, Words] = field(repr=False)
    results_at: int
    results_words: int

    @property
    def listing(self) -> str:
        """The jobs as text."""
        lines = []
        for number, job in enumerate(self.jobs):
            mask = ", ".join(f"{first}+{count}" for first, count in job.segments.tolist())
            kind = "running reference" if job.unified is None else f"maximum {job.unified}"
            heads = len(job.query.integers)
            lines.append(f"job {number}: {heads} query heads, {kind}, tokens {mask or 'none'}")
        return "".join(f"{line}\n" for line in lines)

    @property
    def cycle_bound(self) -> int:
        """More cycles than an unstalled run can take: nothing overlaps, every maximum fails."""
        one = self.geometry.steps + 2 * self.geometry.vector_words + 2
        tokens = sum(job.tokens for job in self.jobs)
        fixed = _SLACK + self.geometry.result_words + self.geometry.max_segments
        return 1000 + 4 * one * tokens + 4 * fixed * len(self.jobs)

    def outputs(self, results: Words) -> list[Partial]:
        """Cut the region of results into a partial result a job, of the heads it has."""
        parts = np.split(results, len(self.jobs))
        return [
            _decode_partial(part, self.geometry, len(job.query.integers))
            for part, job in zip(parts, self.jobs, strict=True)
        ]


def assemble(jobs: Sequence[Job], geometry: Geometry, widths: Widths) -> Program:
    """Lay out the jobs one behind the other, in the order in which they run."""
    for job in jobs:
        _check(job, geometry, widths)
    starts = np.cumsum([0, *(1 + geometry.load_words(len(job.segments)) for job in jobs)])
    address = int(starts[-1])
    blocks: dict[int, Words] = {}
    caches: dict[int, tuple[int, int]] = {}  # a cache that several jobs share is kept once
    for job in jobs:
        if id(job.cache) not in caches and len(job.cache.keys):
            scales, vectors = _scale_words(job.cache, geometry), _cache_words(job.cache, geometry)
            blocks[address], blocks[address + len(scales)] = scales, vectors
            caches[id(job.cache)] = address, address + len(scales)
            address += len(scales) + len(vectors)
    results_at = address
    for number, job in enumerate(jobs):
        where = caches.get(id(job.cache), (0, 0))
        head = _descriptor(job, geometry, where, address, is_last=number == len(jobs) - 1)
        parts = (head, *_load_words(job, geometry, widths))
        blocks[int(starts[number])] = np.concatenate(parts)
        address += geometry.result_words
    return Program(geometry, widths, tuple(jobs), blocks, results_at, address - results_at)


def encode_partial(partial: Partial, geometry: Geometry) -> Words:
    """Results of a job as the device writes them, uint8 [words, port bytes]."""
    words = np.zeros((geometry.query_heads, geometry.head_result_words, geometry.port_bytes), "u1")
    words[:, 0, :4] = partial.reference.astype("<i4").view("u1").reshape(-1, 4)
    words[:, 0, 8:16] = partial.sums.astype("<i8").view("u1").reshape(-1, 8)
    lanes = geometry.steps * geometry.lanes
    padded = np.zeros((geometry.query_heads, lanes), "<i8")
    padded[:, : partial.accumulators.shape[1]] = partial.accumulators
    rows = padded.view("u1").reshape(geometry.query_heads, geometry.steps, -1)
    room = np.zeros((*rows.shape[:2], geometry.row_words * geometry.port_bytes), "u1")
    room[:, :, : rows.shape[2]] = rows
    words[:, 1:] = room.reshape(geometry.query_heads, -1, geometry.port_bytes)
    return words.reshape(-1, geometry.port_bytes)


def _decode_partial(words: Words, geometry: Geometry, heads: int) -> Partial:
    by_head = words.reshape(geometry.query_heads, geometry.head_result_words, -1)[:heads]
    reference = np.ascontiguousarray(by_head[:, 0, :4]).view("<i4")[:, 0].astype(np.int64)
    sums = np.ascontiguousarray(by_head[:, 0, 8:16]).view("<i8")[:, 0].astype(np.int64)
    rows = by_head[:, 1:].reshape(heads, geometry.steps, -1)[:, :, : 8 * geometry.lanes]
    numbers = np.ascontiguousarray(rows).view("<i8").reshape(heads, -1)
    return Partial(reference, sums, numbers[:, : geometry.head_size].astype(np.int64))


def _check(job: Job, geometry: Geometry, widths: Widths) -> None:
    heads, size = job.query.integers.shape
    if job.cache.is_floating:
        raise SpecError(
            "the device's Verilog takes integers with a scale a token",
            where="kv format",
            got=job.cache.format,
            expected="such as int8 or int4",
        )
    for name, got, most in (
        ("query heads", heads, geometry.query_heads),
        ("segments", len(job.segments), geometry.max_segments),
        ("tokens", job.tokens, 1 << widths.context_bits),
    ):
        if got > most:
            raise SpecError(
                "too many for the device", where=name, got=got, expected=f"at most {most}"
            )
    if size != geometry.head_size or job.cache.keys.shape[1] != size:
        raise SpecError(
            "the operands do not fit the device",
            where="head size",
            got=[size, job.cache.keys.shape[1]],
            expected=str(geometry.head_size),
        )
    if (job.segments[:, 1] < 1).any():
        raise SpecError("a segment without a token", where="segments", expected="1 or more each")
    held = job.cache.take(job.segments)
    unit.weigh(0, held.value_scales, job.value_shift)  # refuses a unit too fine
    tokens_of(job.segments, len(job.cache.keys))


def _descriptor(
    job: Job, geometry: Geometry, where: tuple[int, int], results: int, is_last: bool
) -> Words:
    flags = is_last | (job.unified is not None) << 1 | job.value_shift << 8 | MAGIC << 24
    maximum = 0 if job.unified is None else job.unified & 0xFFFFFFFF
    load = geometry.load_words(len(job.segments))
    fields = [flags, job.tokens, len(job.segments), where[1], where[0], results, maximum, load]
    return _words(np.array(fields, "<u4"), geometry)


def _load_words(job: Job, geometry: Geometry, widths: Widths) -> list[Words]:
    heads = len(job.query.integers)
    shifts = np.full(geometry.query_heads, unit.LEAST_SCORE_SHIFT, "u1")
    shifts[:heads] = score_shifts(job.query, job.cache, widths)
    queries = np.zeros((geometry.query_heads, geometry.head_size), "<i2")
    queries[:heads] = job.query.integers
    each = [_words(query, geometry) for query in queries]
    return [_words(shifts, geometry), *each, _words(job.segments.astype("<u4"), geometry)]


def _cache_words(cache: Cache, geometry: Geometry) -> Words:
    """Key and value of each token, whole words each."""
    tokens = len(cache.keys)
    pairs = np.zeros((tokens, 2, geometry.vector_words * geometry.port_bytes), "u1")
    for place, part in enumerate((cache.keys, cache.values)):
        pairs[:, place, : geometry.head_size] = part.astype(np.int8).view("u1")
    return pairs.reshape(-1, geometry.port_bytes)


def _scale_words(cache: Cache, geometry: Geometry) -> Words:
    """Scales of key and value of each token, the key's lower."""
    pairs = np.stack([cache.key_scales, cache.value_scales], axis=1).astype("<f2")
    return _words(pairs, geometry)


def _words(values: Integers | NDArray[np.generic], geometry: Geometry) -> Words:
    """Bytes in order, padded to whole words."""
    raw = np.ascontiguousarray(values).reshape(-1).view("u1")
    return np.pad(raw, (0, -len(raw) % geometry.port_bytes)).reshape(-1, geometry.port_bytes)
