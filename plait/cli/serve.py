"""Commands about serving: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait import api
from plait.cli.app import app
from plait.cli.options import Json
from plait.cli.output import paragraph, show_json, table
from plait.cli.progress import progress
from plait.units import engineering


@app.command(
    rich_help_panel="Time",
    epilog="Example: plait serve trace.csv.gz cluster.yaml --html page.html",
)
def serve(
    trace: Annotated[
        str,
        typer.Argument(
            metavar="TRACE",
            help="A CSV file (or the same gzipped) with arrival_s, context and generated, or a "
            "YAML file that describes requests to generate.",
        ),
    ],
    cluster: Annotated[
        str, typer.Argument(metavar="CLUSTER", help="A YAML file: model, policy, devices.")
    ],
    rate_scale: Annotated[
        float,
        typer.Option(metavar="X", help="How many times as fast requests arrive; inf: at once."),
    ] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            "--out",
            metavar="FOLDER",
            help="Keep finished requests here; a run that was cut off goes on.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the finished requests as CSV.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained page.")
    ] = None,
    json: Json = False,
) -> None:
    """What the users of a cluster see: latencies, throughput, cost, request by request."""
    with progress(f"{trace} on {cluster}") as shown:
        outcome = api.serve(trace, cluster, rate_scale=rate_scale, out=out, progress=shown.advance)
        if csv:
            outcome.to_csv(csv)
        if html:
            outcome.to_html(html)
    if json:
        show_json(outcome.to_json())
        return
    table(
        [f"{outcome.model} on {outcome.devices}", outcome.policy],
        [
            ("requests", outcome.counts["requests"]),
            ("never finished", outcome.counts["unfinished"]),
            ("throughput", f"{outcome.throughput_tokens_per_s:.5g} tokens/s"),
            *_costs(outcome.throughput_per_dollar, outcome.usd_per_hour),
            ("requests within the limits", f"{outcome.goodput_requests_per_s:.4g} /s"),
            ("mean batch", f"{outcome.batch_mean:.4g}"),
            ("instances busy", f"{100 * outcome.utilisation:.1f} %"),
            ("KV lost or evicted", f"{outcome.preemptions} times"),
            ("first arrival to last token", engineering(outcome.makespan_s, "s")),
        ],
    )
    latencies = (
        ("to the first token", outcome.time_to_first_token_s),
        ("between tokens", outcome.time_between_tokens_s),
        ("to the last token", outcome.response_s),
    )
    quantiles = ("mean", "p50", "p90", "p99")
    table(
        ["time", *quantiles],
        [(name, *(engineering(times[q], "s") for q in quantiles)) for name, times in latencies],
    )
    for row in outcome.failures.itertuples():
        paragraph(
            f"{row.device} lost at {row.at_s:g} s: {row.requests_hit} requests lost their KV."
        )


def _costs(per_dollar: float | None, per_hour: float | None) -> list[tuple[str, str]]:
    if per_dollar is None or per_hour is None:
        return []
    return [("tokens a dollar", f"{per_dollar:.5g}"), ("rent", f"{per_hour:.4g} $/h")]
