"""Commands that explore many designs: sweep, pareto, search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait import api
from plait.cli.app import app
from plait.cli.options import Json
from plait.cli.output import line, show_json, table
from plait.cli.progress import progress

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_ROWS = 20

Space = Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="What is fixed, what varies.")]
Minimise = Annotated[
    str, typer.Option(metavar="COLUMNS", help="Columns of which less is better, with commas.")
]
Maximise = Annotated[
    str, typer.Option(metavar="COLUMNS", help="Columns of which more is better, with commas.")
]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV too.")]


@app.command(rich_help_panel="Explore", epilog="Example: plait sweep space.yaml -o sweep.parquet")
def sweep(
    space: Space,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.parquet", help="The file to write.")
    ],
    executor: Annotated[str, typer.Option(help="threads, processes or dask.")] = "threads",
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="By default the processors here.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="A running Dask scheduler.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is another space's result.")
    ] = False,
    json: Json = False,
) -> None:
    """Cost every design of a space; killed and called again, it goes on where it was."""
    with progress(f"sweep of {space}") as bar:
        frame = api.sweep(
            space,
            out=output,
            executor=executor,
            workers=workers,
            address=address,
            overwrite=overwrite,
            progress=bar.advance,
        )
    if json:
        show_json({"file": str(output), "designs": len(frame), "columns": list(frame.columns)})
        return
    line(f"{len(frame)} designs in {output}; fastest:")
    _show(frame.nsmallest(5, "seconds") if len(frame) else frame)
    line(f"The front: plait pareto {output}")


@app.command(
    rich_help_panel="Explore",
    epilog="Example: plait pareto sweep.parquet --minimise seconds,energy_joules,area_mm2",
)
def pareto(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="What a sweep wrote.")],
    minimise: Minimise = "seconds,area_mm2",
    maximise: Maximise = "",
    csv: Csv = None,
    json: Json = False,
) -> None:
    """The designs that no other one beats in every objective."""
    from plait.sim.sweep.store import read_sweep

    frame = read_sweep(file)
    found = api.pareto(frame, _names(minimise), _names(maximise))
    empty = frame[[*_names(minimise), *_names(maximise)]].isna()
    _result(found, csv, json, left_out=int(empty.any(axis=1).sum()))
    if not json and empty.any(axis=None):
        named = " or ".join(empty.columns[empty.any()])
        line(f"left out: {empty.any(axis=1).sum()} designs whose machine has no {named}")


@app.command(
    rich_help_panel="Explore",
    epilog="Example: plait search space.yaml --minimise seconds,area_mm2 --trials 2000",
)
def search(
    space: Space,
    minimise: Minimise = "seconds,area_mm2",
    maximise: Maximise = "",
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="Designs to cost.")] = 2048,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the draws.")] = 0,
    csv: Csv = None,
    json: Json = False,
) -> None:
    """Look for the front by NSGA-II, where a space is too large to cost every design."""
    with progress(f"search of {space}") as bar:
        frame = api.search(
            space,
            minimise=_names(minimise),
            maximise=_names(maximise),
            trials=trials,
            seed=seed,
            progress=bar.advance,
        )
    _result(frame, csv, json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _result(frame: pd.DataFrame, csv: Path | None, json: bool, left_out: int = 0) -> None:
    if csv:
        from plait.files import write_atomically

        with write_atomically(csv) as temporary:
            frame.to_csv(temporary, index=False)
    if json:
        designs = frame.to_json(orient="records")
        show_json(f'{{"designs": {designs}, "left_out": {left_out}}}')
        return
    line(f"{len(frame)} designs on the front")
    _show(frame)


def _show(frame: pd.DataFrame) -> None:
    rows = [
        [f"{value:.4g}" if isinstance(value, float) else value for value in row]
        for row in frame.head(_SHOWN_ROWS).itertuples(index=False)
    ]
    table(list(frame.columns), rows)
    if len(frame) > _SHOWN_ROWS:
        line(f"... and {len(frame) - _SHOWN_ROWS} more; --csv FILE or --json gives all")
