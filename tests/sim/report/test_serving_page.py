"""The page of a serving run: one file, all figures, nothing loaded from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from plait.sim.serving import serve

CLUSTER = {
    "model": "smollm2-135m",
    "policy": "continuous_batching",
    "devices": [{"machine": "a10g"}],
    "limits": {"time_to_first_token_s": 0.05},
    "failures": [{"device": "a10g/0", "at_s": 0.01, "for_s": 0.05}],
}
TRACE = pd.DataFrame({"arrival_s": [0.0, 0.1], "context": [9, 90], "generated": [30, 30]})


def test_one_file_with_everything(tmp_path: Path) -> None:
    outcome = serve(TRACE, CLUSTER)
    path = outcome.to_html(tmp_path / "page.html")
    page = path.read_text(encoding="utf-8")
    assert "$" + "data" not in page
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"(src|href)=\"(?!data:|#)", markup)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    document = json.loads(found.group(1))
    figures = document["figures"]
    assert figures["time_to_first_token_s"] == outcome.time_to_first_token_s
    assert document["limits"] == {"time_to_first_token_s": 0.05}
    assert document["failures"][0]["requests_hit"] == 1
    assert len(document["timeline"]["running"]) == len(outcome.timeline)
    assert document["distributions"]["response_s"] == sorted(
        document["distributions"]["response_s"]
    )
    assert [row["requests"] for row in document["by_context"]] == [1, 1]


def test_a_run_in_which_nothing_finished(tmp_path: Path) -> None:
    lost = {**CLUSTER, "failures": [{"device": "a10g/0", "at_s": 0.0}]}
    outcome = serve(TRACE, lost)
    assert outcome.counts["unfinished"] == 2
    assert outcome.requests.empty
    assert outcome.to_html(tmp_path / "page.html").stat().st_size > 1_000_000
    json.loads(outcome.to_json())
