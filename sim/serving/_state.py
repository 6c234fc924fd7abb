"""The state of a run as arrays of records: what the kernel changes, and what a checkpoint holds.

Records instead of classes, so that numba reads them and `numpy.savez` writes them. Times are in
seconds since the first arrival, lengths in tokens, memory in blocks of the KV cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARRIVAL",
    "DECODE",
    "EVENT",
    "FINISHED",
    "INSTANCE",
    "MIXED",
    "PROMPT",
    "SLOT",
    "TIMELINE_COLUMNS",
    "Rules",
    "State",
    "Tables",
]

MIXED, PROMPT, DECODE = range(3)
"""What an instance does with a request: all of it, only its prompt, only its other tokens."""

ARRIVAL = np.dtype([("id", "i8"), ("arrival_s", "f8"), ("prompt", "i8"), ("generated", "i8")])

SLOT = np.dtype(
    [
        ("id", "i8"),
        ("arrival_s", "f8"),
        ("prompt", "i8"),
        ("generated", "i8"),  # tokens to generate
        ("done", "i8"),  # tokens generated
        ("goal", "i8"),  # tokens to prefill: the prompt, after a loss also what was generated
        ("filled", "i8"),  # of these, prefilled
        ("chunk", "i8"),  # of these, in the present iteration
        ("length", "i8"),  # tokens in the KV cache of a decoding request
        ("blocks", "i8"),
        ("device", "i8"),  # memory device, where whole requests live on one
        ("ready_s", "f8"),  # not before this time may it be admitted (its KV is on the way)
        ("start_s", "f8"),
        ("first_s", "f8"),
        ("last_s", "f8"),
        ("longest_s", "f8"),
        ("preemptions", "i8"),
        ("next", "i8"),  # in a queue, or in the list of free slots
    ]
)
"""A request in flight."""

INSTANCE = np.dtype(
    [
        ("role", "i8"),
        ("table", "i8"),  # step times at the present health; -1: down
        ("busy", "i8"),
        ("stuck", "i8"),  # has work that it cannot start until something changes
        ("decodes", "i8"),  # the present iteration gives every decoding request a token
        ("start_s", "f8"),
        ("end_s", "f8"),
        ("running", "i8"),
        ("head", "i8"),  # of the queue of waiting requests
        ("tail", "i8"),
        ("waiting", "i8"),
        ("context", "i8"),  # tokens in the KV cache of decoding requests
        ("blocks", "i8"),
        ("used", "i8"),
        ("load", "i8"),  # tokens to prefill, and one a request
        ("devices", "i8"),  # memory devices that hold whole requests; 1: no such division
        ("busy_s", "f8"),
        ("down_s", "f8"),
        ("iterations", "i8"),
        ("tokens", "i8"),
    ]
)
"""Devices that run one copy of the model."""

EVENT = np.dtype(
    [
        ("time_s", "f8"),
        ("instance", "i8"),
        ("table", "i8"),
        ("blocks", "i8"),
        ("lost", "i8"),  # KV: 0 none, 1 all of the instance, 2 that of one memory device
        ("device", "i8"),
        ("failure", "i8"),  # which one of the cluster; -1: a return
        ("hit", "i8"),  # requests that lost their KV by it
    ]
)
"""A change of an instance's health, and what it leaves."""

FINISHED = np.dtype(
    [
        ("id", "i8"),
        ("arrival_s", "f8"),
        ("context", "i8"),
        ("generated", "i8"),
        ("instance", "i8"),
        ("start_s", "f8"),
        ("first_token_s", "f8"),
        ("finish_s", "f8"),
        ("longest_gap_s", "f8"),
        ("preemptions", "i8"),
    ]
)

TIMELINE_COLUMNS = (
    "running",  # integrals over an interval: requests x seconds
    "waiting",
    "used",  # blocks x seconds
    "busy",  # instances x seconds
    "down",
    "tokens",  # counts
    "prompt_tokens",
    "arrived",
    "finished",
    "lost",  # requests whose KV was lost or evicted
)
TIMELINE_ROWS = 512
"""More are never held: two neighbours become one, and the interval doubles."""
FIRST_INTERVAL_S = 1 / 64

GLOBAL = np.dtype(
    [
        ("now_s", "f8"),
        ("next_arrival", "i8"),
        ("next_event", "i8"),
        ("free", "i8"),  # first free slot
        ("finished", "i8"),  # rows in the buffer
        ("interval_s", "f8"),  # of the timeline
        ("in_flight", "i8"),
        ("most_in_flight", "i8"),
        ("decode_steps", "i8"),
        ("decode_tokens", "i8"),
        ("tokens", "i8"),
        ("prompt_tokens", "i8"),
        ("preemptions", "i8"),
        ("gap_s", "f8"),  # the interval whose bin is known
        ("gap_bin", "i8"),
    ]
)


class Rules(NamedTuple):
    """How instances choose what to do next.

    Attributes:
        chunk_tokens: of one iteration, prefill in what decoding leaves; 0: whole prompts, alone.
        max_batch: requests that run at once in an instance.
        max_batch_tokens: of the prompts in one iteration; a longer one goes alone.
        block_tokens: of one block of the KV cache.
        reserve: share of the blocks that admission leaves free, so that running requests can grow.
        lends: instances without room borrow blocks of others.
        send_s_per_token: KV of a prompt on its way to where it is used, while it is computed.
        move_s_per_token, layers: KV that moves to another instance, layer by layer.
        borrow_s, borrow_s_per_request: added to a step whose KV is partly elsewhere.
    """

    chunk_tokens: int
    max_batch: int
    max_batch_tokens: int
    block_tokens: int
    reserve: float
    lends: bool
    send_s_per_token: float
    move_s_per_token: float
    layers: int
    borrow_s: float
    borrow_s_per_request: float


class Tables(NamedTuple):
    """Seconds of a step on grids, interpolated linearly; the first axis is the instances' health.

    Attributes:
        tokens: grid [T] of tokens in an iteration with prefill.
        prefill_other: [K, T], all but attention.
        lengths: grid [P] of prompts.
        prefill_attention: [K, P], of one whole prompt.
        batch: grid [B] of decoding requests.
        context: grid [C] of their mean context, the new token included.
        decode_other: [K, B], all but attention.
        decode_attention: [K, B, C].
    """

    tokens: NDArray[np.float64]
    prefill_other: NDArray[np.float64]
    lengths: NDArray[np.float64]
    prefill_attention: NDArray[np.float64]
    batch: NDArray[np.float64]
    context: NDArray[np.float64]
    decode_other: NDArray[np.float64]
    decode_attention: NDArray[np.float64]


class State(NamedTuple):
    """Everything that changes during a run."""

    g: NDArray[np.void]
    instances: NDArray[np.void]
    running: NDArray[np.int64]  # [instances, max_batch]: slots, in the order of admission
    slots: NDArray[np.void]
    borrowed: NDArray[np.int64]  # [debtors, creditors]: blocks
    finished: NDArray[np.void]
    gaps: NDArray[np.float64]  # [bins, 2]: count and sum of the times between tokens
    events: NDArray[np.void]
    timeline: NDArray[np.float64]  # [TIMELINE_ROWS, TIMELINE_COLUMNS]


def new_state(
    instances: NDArray[np.void], events: NDArray[np.void], max_batch: int, gap_bins: int
) -> State:
    """Give the state before the first arrival."""
    count = len(instances)
    g = np.zeros(1, GLOBAL)
    g["free"], g["interval_s"], g["gap_s"] = -1, FIRST_INTERVAL_S, -1.0
    state = State(
        g=g,
        instances=instances,
        running=np.zeros((count, max_batch), np.int64),
        slots=np.zeros(0, SLOT),
        borrowed=np.zeros((count, count), np.int64),
        finished=np.zeros(2 * count * max_batch, FINISHED),
        gaps=np.zeros((gap_bins, 2)),
        events=events,
        timeline=np.zeros((TIMELINE_ROWS, len(TIMELINE_COLUMNS))),
    )
    return with_more_slots(state)


def with_more_slots(state: State) -> State:
    """Double the room for requests in flight."""
    old = len(state.slots)
    new = max(2 * old, 1024)
    slots = np.zeros(new, SLOT)
    slots[:old] = state.slots
    slots["next"][old:] = np.arange(old + 1, new + 1)
    slots["next"][-1] = state.g["free"][0]
    state.g["free"] = old
    return state._replace(slots=slots)
