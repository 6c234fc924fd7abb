"""How much memory the programs of all lengths take.

FlightLLM (FPGA 2024, length-adaptive compilation) keeps a program a bucket of lengths, one for all
cores, and one instruction for the eight channels of a transfer. The paper's last figure, 3.25 GB,
comes without the rule by which transfers are merged; `merged_words` states ours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plait.sim.compiler.instruction import Path, Program

__all__ = ["WORD_BYTES", "merged_words", "storage_bytes"]

WORD_BYTES = 4
_LONGEST = 2048
_PREFILL_BUCKET, _DECODE_BUCKET = 128, 16


def merged_words(program: Program) -> int:
    """Count words if a run of transfers over channels 0, 1, 2, ... is one instruction.

    Merged is what follows the transfer of the channel before, on the same queue, over all channels,
    waits for nothing itself and comes before any token the run gives.
    """
    queue, channel = program["queue"].astype(np.int64), program["channel"].astype(np.int64)
    follows = (queue[1:] == queue[:-1]) & (channel[1:] == channel[:-1] + 1)
    follows &= (program["path"][1:] == Path.ALL_CHANNELS) & (program["wait"][1:] == 0)
    follows &= program["release"][:-1] == 0
    kept = np.concatenate([[True], ~follows]) if len(program) else np.zeros(0, dtype=bool)
    columns = {name: values[kept] for name, values in program.columns.items()}
    return Program(columns).words


def storage_bytes(
    decode_words: Callable[[int], int], prefill_words: int, cores: int, by_bucket: bool
) -> int:
    """Add up the programs of every prompt and every decode length up to 2048 tokens.

    Args:
        decode_words: words of the decode program of a length that is a multiple of 16.
        prefill_words: of the prompt of 128 tokens; longer ones are taken as so much longer, because
            the published attention masks end at 512 tokens.
        cores: programs kept of each: one a core, or 1 if they share it.
        by_bucket: a program every 16 (decode) and 128 (prefill) tokens, not one a length.
    """
    decode = {n: decode_words(n) for n in range(_DECODE_BUCKET, _LONGEST + 1, _DECODE_BUCKET)}
    each = 1 if by_bucket else _DECODE_BUCKET  # lengths that have a program as long as this one
    prompts = np.arange(_PREFILL_BUCKET if by_bucket else 1, _LONGEST + 1)
    if by_bucket:
        prompts = prompts[prompts % _PREFILL_BUCKET == 0]
    words = each * sum(decode.values()) + prefill_words * float(prompts.sum()) / _PREFILL_BUCKET
    return round(words * WORD_BYTES * cores)
