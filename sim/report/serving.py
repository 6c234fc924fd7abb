"""One self-contained HTML page of a serving run: figures, timelines, percentiles, failures.

Takes an Outcome, gives a file. The page's own code is in assets/serving.html and serving.js.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from plait import __version__
from plait.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from plait.sim.serving.metrics import Outcome

__all__ = ["write_serving_page"]

_POINTS = 256  # of a distribution: more cannot be seen
_LATENCIES = ("time_to_first_token_s", "time_between_tokens_s", "response_s", "queue_s")


def write_serving_page(outcome: Outcome, path: str | Path) -> Path:
    """Write the page; it appears whole or not at all."""
    from plotly.offline import get_plotlyjs

    path = Path(path)
    assets = files("plait.sim.report") / "assets"
    data = json.dumps(_document(outcome), allow_nan=False, ensure_ascii=False)
    title = f"{outcome.model} on {outcome.devices}"
    page = Template((assets / "serving.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        subtitle=escape(f"policy {outcome.policy}, {outcome.counts['requests']} requests"),
        version=escape(__version__),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        script=(assets / "serving.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        data=data.replace("<", "\\u003c"),  # no text of a user can end the script element
    )
    with write_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _document(outcome: Outcome) -> dict[str, Any]:
    figures = outcome.to_dict()
    tables = {name: figures.pop(name) for name in ("instances", "failures")}
    requests = outcome.requests
    return {
        "figures": figures,
        "limits": dict(outcome.limits),
        "timeline": {str(n): _numbers(outcome.timeline[n]) for n in outcome.timeline},
        "distributions": {name: _distribution(requests[name]) for name in _LATENCIES},
        "by_context": _by_context(requests),
        **tables,
    }


def _numbers(column: pd.Series[Any]) -> list[float]:
    return [float(f"{value:.6g}") for value in column]


def _distribution(column: pd.Series[Any]) -> list[float]:
    """The smallest, the largest and the percentiles between, equally spaced."""
    if not len(column):
        return []
    shares = np.linspace(0, 1, _POINTS)
    return [float(f"{value:.6g}") for value in np.quantile(column, shares)]


def _by_context(requests: pd.DataFrame) -> list[dict[str, float]]:
    """Latencies of short and long prompts: bins that double."""
    if not len(requests):
        return []
    power = np.floor(np.log2(requests["context"])).astype(int)
    rows = []
    for k, group in requests.groupby(power):
        first, between = group["time_to_first_token_s"], group["time_between_tokens_s"]
        rows.append(
            {
                "from": float(2 ** int(k)),
                "requests": len(group),
                "first_p50": float(first.quantile(0.5)),
                "first_p99": float(first.quantile(0.99)),
                "between_p50": float(between.quantile(0.5)),
                "between_p99": float(between.quantile(0.99)),
            }
        )
    return rows
