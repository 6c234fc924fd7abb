"""What a reader sees of the accuracy study: a table in Markdown or HTML, and the front drawn.

Takes the rows of plait.study, gives files. Nothing is computed here but the order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.files import text_around, write_atomically
from plait.study import MACHINES, TEXTS, Effort, front

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["caption", "cells", "document", "draw", "refusals", "write_html"]

_BEGIN = "<!-- study: written by `plait study --write FILE` -->"
_END = "<!-- end of study -->"
_LETTER_SIZE = 7  # points, as all below
_LETTER_WIDTH = 4.2  # of names in that size, on the wide side
_POINT_SIZE = 6
# Where a name may be, up from its point: above the line of the front, else ever farther away.
_SHIFTS = (5, *(sign * step for step in range(7, 100, 3) for sign in (1, -1)))

Row = dict[str, Any]


def cells(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """The head and the lines of the table: the dense model, then the methods by bits."""
    head = ["method", "bits a weight", *(f"perplexity, {text}" for text in TEXTS)]
    head += ["KL to dense, nats", "same top-1 token, %", "quantising, CPU s"]
    head += [f"one token on {machine}" for machine in MACHINES]
    first = rows[0]
    dense = [f"{first[f'perplexity_dense_{text}']:.2f}" for text in TEXTS]
    lines = [["dense, as stored", "", *dense, "0", "100", *[""] * (1 + len(MACHINES))]]
    marks = refusals(rows)
    ordered: list[Row] = front(rows).to_dict("records")  # type: ignore[assignment] # keys are names
    for row in ordered:
        name = f"{row['name']} *" if row["on_front"] else row["name"]
        measured = [_perplexity(row, text) for text in TEXTS]
        kl = _mean(row, "kl_nats", 1)
        top1 = _mean(row, "top1_agreement", 100)
        tokens = [_token(row, machine, marks) for machine in MACHINES]
        seconds = f"{row['quantising_cpu_s']:.0f}"
        lines.append([name, f"{row['bits_per_weight']:.3f}", *measured, kl, top1, seconds, *tokens])
    return head, lines


def refusals(rows: list[Row]) -> dict[str, str]:
    """Why machines cannot run methods: each reason and the number that stands for it."""
    found = [_refusal(row, machine) for row in rows for machine in MACHINES]
    reasons = dict.fromkeys(reason for reason in found if reason)
    return {reason: str(place) for place, reason in enumerate(reasons, 1)}


def _refusal(row: Row, machine: str) -> str:
    """What the machine lacks; empty if it lacks nothing. The row has the whole sentence."""
    if not _has(row, f"refused_{machine}"):
        return ""
    return str(row[f"refused_{machine}"]).partition(", ")[0].removeprefix(f"{machine}: ")


def document(path: str | Path, rows: list[Row], effort: Effort) -> None:
    """Replace the table between the markers of a Markdown file, and the drawing beside it.

    Raises:
        SpecError: the file has no markers.
    """
    path = Path(path)
    before, after = text_around(path, _BEGIN, _END)
    head, lines = cells(rows)
    drawing = f"{path.stem}-front.svg"
    marked = ["| " + " | ".join(line) + " |" for line in (head, *lines)]
    marked.insert(1, "|" + "---|" * len(head))
    remarks = [f"- {line}" for line in _remarks(rows)]
    parts = [
        _BEGIN,
        f"![Bits a weight and KL divergence of every method]({drawing})",
        caption(rows, effort),
        "\n".join(marked),
        "\n".join(remarks),
        _END,
    ]
    with write_atomically(path.with_name(drawing)) as temporary:
        temporary.write_text(_svg(draw(rows)), encoding="utf-8")
    with write_atomically(path) as temporary:
        temporary.write_text(before + "\n\n".join(parts) + after, encoding="utf-8")


def write_html(path: str | Path, rows: list[Row], effort: Effort) -> None:
    """Write one HTML file that needs nothing else: the drawing, the table, the remarks."""
    head, lines = cells(rows)

    def line(texts: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"

    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Accuracy study</title><style>',
        "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:90em;padding:0 1em}",
        "table{border-collapse:collapse}td,th{padding:.2em .7em;border-bottom:1px solid #ccc;",
        "text-align:right}td:first-child,th:first-child{text-align:left}svg{max-width:100%}",
        "</style></head><body><h1>Accuracy study</h1>",
        f"<p>{escape(caption(rows, effort))}</p>",
        _svg(draw(rows)),
        "<table>",
        line(head, "th"),
        *(line(texts, "td") for texts in lines),
        "</table><ul>",
        *(f"<li>{escape(text)}</li>" for text in _remarks(rows)),
        "</ul></body></html>",
    ]
    with write_atomically(path) as temporary:
        temporary.write_text("\n".join(parts) + "\n", encoding="utf-8")


def caption(rows: list[Row], effort: Effort) -> str:
    """What was measured, on how much text, and how the weights came."""
    count = effort.windows * (effort.window - 1)
    weights = next((row["weights_note"] for row in rows if _has(row, "weights_note")), "")
    spread = "plus or minus one standard error of the windows" if effort.windows > 1 else ""
    sentences = [
        f"{effort.windows} windows of {effort.window} tokens of each text ({count} predictions)",
        f"calibration on {effort.calibration_windows} windows of a third text",
        spread,
        "KL and top-1 are means of both texts",
        "* is on the front of bits and KL",
    ]
    return "; ".join(part for part in sentences if part) + f". {weights}".rstrip()


def draw(rows: list[Row]) -> Figure:
    """Bits a weight against KL to the dense model, the front as a line."""
    from matplotlib.figure import Figure

    table = front(rows)
    figure = Figure(figsize=(8.5, 6.5), layout="constrained")
    axes = figure.add_subplot()
    ahead, behind = table[table["on_front"]], table[~table["on_front"]]
    axes.plot(behind["bits_per_weight"], behind["kl_nats"], "o", ms=_POINT_SIZE, color="#8C8C8C")
    axes.step(
        ahead["bits_per_weight"],
        ahead["kl_nats"],
        "o-",
        where="post",
        ms=_POINT_SIZE,
        color="#0072B2",
    )
    weights = next((row["weights_note"] for row in rows if _has(row, "weights_note")), "")
    axes.set(xscale="log", yscale="log", title=weights)
    axes.title.set_fontsize(8)
    axes.set(xlabel="bits a weight, all overhead", ylabel="KL to the dense model, nats a token")
    ticks = [2, 3, 4, 5, 6, 8, 12]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
    _name_points(figure, table)
    return figure


def _name_points(figure: Figure, table: pd.DataFrame) -> None:
    """Write each name right of its point, as near as it meets no other name and no point."""
    figure.draw_without_rendering()  # now the axes have their place
    axes, point = figure.axes[0], _POINT_SIZE / 2
    coordinates = table[["bits_per_weight", "kl_nats"]].to_numpy()
    places = axes.transData.transform(coordinates) * 72 / figure.dpi
    taken = [(x - point, y - point, x + point, y + point) for x, y in places.tolist()]
    for row, (x, y) in zip(table.itertuples(), places.tolist(), strict=True):
        name, left = str(row.name), x + point + 2
        right = left + _LETTER_WIDTH * len(name)
        boxes = ((left, y + s - 4, right, y + s + 4) for s in _SHIFTS)
        free = (not any(_overlap(box, other) for other in taken) for box in boxes)
        shift = next((s for s, is_free in zip(_SHIFTS, free, strict=True) if is_free), _SHIFTS[0])
        taken.append((left, y + shift - 4, right, y + shift + 4))
        colour = "#0072B2" if row.on_front else "#555555"
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": colour, "relpos": (0, 0.5)}
        axes.annotate(
            name,
            (row.bits_per_weight, row.kl_nats),
            (point + 2, shift),
            textcoords="offset points",
            fontsize=_LETTER_SIZE,
            color=colour,
            verticalalignment="center",
            arrowprops=None if shift == _SHIFTS[0] else line,
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Of boxes (left, bottom, right, top)."""
    return all(one[i] < other[i + 2] and other[i] < one[i + 2] for i in (0, 1))


def _svg(figure: Figure) -> str:
    """The same bytes for the same rows: no date, no random names."""
    import matplotlib as mpl

    file = StringIO()
    with mpl.rc_context({"svg.hashsalt": "plait", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return "\n".join(line.rstrip() for line in text[text.index("<svg") :].splitlines()) + "\n"


def _perplexity(row: Row, text: str) -> str:
    """The error is that of the ratio to the dense model, windows being the same."""
    value, error = row[f"perplexity_{text}"], row.get(f"perplexity_log_error_{text}")
    return _measured(value, None if error is None else value * error)


def _mean(row: Row, key: str, factor: float) -> str:
    """Mean of both texts, whose errors are independent."""
    value = sum(row[f"{key}_{text}"] for text in TEXTS) / len(TEXTS)
    errors = [row.get(f"{key}_error_{text}") for text in TEXTS]
    if None in errors:
        return _measured(factor * value, None)
    error = math.hypot(*(e for e in errors if e is not None)) / len(TEXTS)
    return _measured(factor * value, factor * error)


def _measured(value: float, error: float | None) -> str:
    """A value to the second digit of its error.

    >>> _measured(52.7345, 0.527), _measured(0.0123456, 0.00045), _measured(3.14159, None)
    ('52.73 ± 0.53', '0.01235 ± 0.00045', '3.142')
    """
    if not error or not math.isfinite(value):
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _token(row: Row, machine: str, marks: dict[str, str]) -> str:
    if reason := _refusal(row, machine):
        return f"cannot ({marks[reason]})"
    text = f"{row[f'token_us_{machine}']:.0f} µs"
    if _has(row, f"token_mj_{machine}"):
        text += f", {_number(row[f'token_mj_{machine}'])} mJ"
    return text


def _remarks(rows: list[Row]) -> list[str]:
    """Reasons of refusal by number, then what is odd about methods."""
    told = [f"({mark}) {reason}" for reason, mark in refusals(rows).items()]
    told += [f"{row['name']}: {row['remark']}" for row in rows if row["remark"]]
    return told + [f"{row['name']}: {note}" for row in rows for note in row["notes"]]


def _has(row: Row, key: str) -> bool:
    """Rows of a frame have NaN where a row has no such key."""
    return row.get(key) is not None and row[key] == row[key]
