"""The accuracy study: every method of quantising on one LLM, on two texts and five machines.

Takes a model with weights, gives a row a method: true bits a weight; perplexity, KL and top-1
agreement with the dense model on two texts; time and energy of a decoded token. Rows are kept in a
file as they are finished, so that a study goes on where it was stopped. Methods are calibrated with
a third text. Next: plait.study_page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import SpecError, unknown_name
from plait.files import write_atomically
from plait.study_methods import METHODS, Method
from plait.study_rows import MACHINES, TEXTS, Announce, Effort, Row, measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MACHINES", "METHODS", "TEXTS", "Effort", "Method", "front", "run"]

FILE = "study.jsonl"


def run(
    folder: str | Path,
    model: str = "smollm2-135m",
    effort: Effort | None = None,
    only: tuple[str, ...] = (),
    announce: Announce = lambda _: None,
    workers: int | None = None,
) -> list[Row]:
    """Give the rows, in the order of the methods; those of an earlier run are not measured again.

    Args:
        folder: where rows are kept; one of another model or effort is refused.
        model: whatever `load_module` takes.
        effort: how much is measured; None = all of it.
        only: names of ``METHODS``; empty = all (in a quick effort the quick ones).
        announce: called with a few words before each piece of work.
        workers: processes; 1 = this one; None = one a core, at most four.
    """
    effort = effort or Effort()
    chosen = _chosen(only, effort)
    path = Path(folder) / FILE
    head = {"model": model} | asdict(effort)
    done = _read(path, head)
    missing = [method for method in chosen if method.name not in done]
    for row in measure(model, effort, missing, workers, announce):
        done[row["name"]] = row
        _write(path, head, done)
    return [done[method.name] for method in chosen]


def front(rows: list[Row]) -> pd.DataFrame:
    """The rows as a table, sorted by bits; ``on_front`` where no other has less of bits and KL."""
    import pandas as pd

    table = pd.DataFrame(rows)
    table["kl_nats"] = table[[f"kl_nats_{text}" for text in TEXTS]].mean(axis=1)
    table = table.sort_values(["bits_per_weight", "kl_nats"], kind="stable", ignore_index=True)
    least = table["kl_nats"].cummin().shift(fill_value=float("inf"))
    table["on_front"] = table["kl_nats"] < least
    return table


def _chosen(only: tuple[str, ...], effort: Effort) -> list[Method]:
    known = {method.name: method for method in METHODS}
    for name in only:
        if name not in known:
            raise SpecError(unknown_name("method of the study", name, known), where="--only")
    if only:
        return [known[name] for name in only]
    return [method for method in METHODS if method.in_quick or effort != Effort.quick()]


def _read(path: Path, head: dict[str, Any]) -> dict[str, Row]:
    if not path.exists():
        return {}
    try:
        first, *rows = [json.loads(line) for line in path.read_text().splitlines()]
        done = {row["name"]: row for row in rows}
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise SpecError("not the rows of a study", where=str(path)) from None
    if first != head:
        raise SpecError(
            "rows of another study", where=str(path), got=first, expected=f"{head}, or a new folder"
        )
    return done


def _write(path: Path, head: dict[str, Any], done: Mapping[str, Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        lines = [json.dumps(part) for part in (head, *done.values())]
        Path(temporary).write_text("\n".join(lines) + "\n")
