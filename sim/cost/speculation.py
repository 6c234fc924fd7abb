"""Speculative decoding (arXiv 2211.17192): a draft model proposes, the target checks at once.

Tokens are accepted independently with one probability; a check costs one decode pass, which holds
as long as that pass is bound by reading weights. A mixture breaks this: more tokens touch more
experts (`plait.models.graph.workload.expected_experts` of drafted + 1 tokens).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["expected_tokens", "speedup"]


def expected_tokens(acceptance: Any, drafted: Any) -> Any:
    """Tokens a pass of the target gives: (1 - a^(g+1)) / (1 - a); g + 1 if a is 1.

    >>> round(float(expected_tokens(0.8, 4)), 4)
    3.3616
    >>> float(expected_tokens(1.0, 4))
    5.0
    """
    share = np.asarray(acceptance, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (1 - share ** (drafted + 1)) / (1 - share)
    return np.where(share == 1, drafted + 1.0, found)[()]


def speedup(acceptance: Any, drafted: Any, draft_cost: Any) -> Any:
    """Over plain decoding; ``draft_cost`` is the time of a draft pass over one of the target's."""
    return expected_tokens(acceptance, drafted) / (drafted * draft_cost + 1)
