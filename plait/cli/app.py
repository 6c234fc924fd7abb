"""The Typer application: its commands are in the files beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from plait import __version__

__all__ = ["app"]

app = typer.Typer(
    name="plait",
    help="LLM accelerators, from PyTorch to values, cycles and Verilog, with the measured error "
    "between them.",
    epilog="Example: plait simulate llama-2-7b bitmod-lossy --phase decode --context 256",
    pretty_exceptions_enable=False,  # run.py turns mistakes into one line; a bug keeps its trace
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def plait(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """LLM accelerators, from PyTorch to values, cycles and Verilog."""
    if version:
        typer.echo(f"plait {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


# They register their commands; the help shows them in this order, that of the flow.
# isort: off
from plait.cli import values, rewrites, study, time, serve, gates, explore, tools  # noqa: E402, F401
