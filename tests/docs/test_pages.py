"""The documentation keeps its word: every page's files, commands and Python run, in their order.

A command whose comment begins with "takes" is left to `make test-long`. The tutorials are the three
ways of use as a new user types them: each must pay off within five minutes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import plait
from plait.cli import main
from plait.models.formats.registry import MODULES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"```(sh|python|yaml)\n(.*?)```", re.DOTALL)
FIVE_MINUTES_S = 300
TOOLS = ("generate", "cosimulate", "area", "agreement", "waveform", "demo")


def cpu_seconds() -> float:
    """Of this process and those it waited for: what takes as long, at most, on an idle machine."""
    return sum(os.times()[:4])


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(block: str, are_long: bool = False) -> list[str]:
    joined = block.replace("\\\n", " ")
    lines = [line.partition(" # ") for line in joined.splitlines() if line.strip()]
    return [
        command.strip()
        for command, _, comment in lines
        if comment.strip().startswith("takes") == are_long
    ]


def long_commands(page: Path) -> list[str]:
    shell = [body for kind, body in blocks(page) if kind == "sh"]
    return [command for body in shell for command in commands(body, are_long=True)]


def marks(page: Path) -> list[pytest.MarkDecorator]:
    text = "\n".join(
        "\n".join(commands(body)) if kind == "sh" else body for kind, body in blocks(page)
    )
    needs_gates = any(f"plait {tool}" in text or f"plait.{tool}" in text for tool in TOOLS)
    wanted = [pytest.mark.slow] if text else []
    if needs_gates or "smollm2" in text:
        wanted.append(pytest.mark.model)
    return [*wanted, pytest.mark.rtl] if needs_gates else wanted


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=marks(p), id=str(p.relative_to(ROOT / "docs"))) for p in PAGES],
)
def test_page(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()  # as if this were the repository
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    begun, shown, python = cpu_seconds(), [], []
    for kind, body in blocks(page):
        if kind == "yaml" and body.startswith("# "):
            Path(body.split()[1]).write_text(body, encoding="utf-8")
        elif kind == "sh":
            for command in commands(body):
                run(command)
                shown.append(capsys.readouterr().out)
        elif kind == "python":
            python.append(body)
    if python:  # the blocks of a page go on from one another
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(python)],
            env={**os.environ, "MPLBACKEND": "agg"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    if page.parent.name == "tutorials":
        PAYS_OFF[page.stem](tmp_path, shown)
        assert cpu_seconds() - begun < FIVE_MINUTES_S


# The three ways of use: what a new user has after following a tutorial, command by command.


def roofline_pays_off(folder: Path, shown: list[str]) -> None:
    decode, prefill, faster, smaller, python = shown
    assert "decode, context 1024" in decode
    assert "prefill, context 1024" in prefill
    machine = plait.load_accelerator("a100-80g")
    seconds, moved = map(float, python.split())
    assert seconds >= moved / machine.memory.bandwidth_bytes_per_s  # every byte at most once
    linear = next(line for line in decode.splitlines() if "gate_proj" in line)
    assert "memory" in linear
    linear = next(line for line in prefill.splitlines() if "gate_proj" in line)
    assert "compute" in linear
    assert faster != decode
    assert json.loads(smaller)["totals"]["bytes"] < moved / 3  # four bits for sixteen, and scales
    assert "<html" in (folder / "prefill.html").read_text(encoding="utf-8")
    assert (folder / "roofline.png").read_bytes().startswith(b"\x89PNG")


def sweep_pays_off(folder: Path, shown: list[str]) -> None:
    assert "designs on the front" in shown[1]
    frame = pd.read_parquet(folder / "sweep.parquet")
    assert 0 < len(frame) < 2 * 32 * 5 * 4 * 8 * 3
    assert frame["area_mm2"].lt(4).all()
    row = frame.nsmallest(1, "seconds").to_dict("records")[0]
    keys = [key for key in row if "." in key and key != "formats.weight"]
    machine = plait.load_accelerator("bitmod-lossy")
    alone = plait.simulate(
        "llama-2-7b",
        machine.with_(**{key: row[key] for key in [*keys, "clock_hz"]}),
        context=row["context"],
        formats={"weight": row["formats.weight"]},
    )
    assert row["cycles"] == alone.cycles
    told = {d["formats.weight"]: d["perplexity"] for d in json.loads(shown[4])["designs"]}
    assert told["int8"] < told["bitmod4"]


def verilog_pays_off(folder: Path, shown: list[str]) -> None:
    manifest = json.loads((folder / "out/manifest.json").read_text())
    assert [name for name in manifest["files"] if not (folder / "out" / name).is_file()] == []
    assert "layers.0.self_attn.k_proj" in shown[1]  # it exits with 1 if a value or a cycle differs
    assert "<svg" in (folder / "tiles.svg").read_text()
    assert "$enddefinitions" in (folder / "wave.vcd").read_text()
    different, predicted, measured = map(int, shown[3].split())
    assert (different, predicted) == (0, measured)


PAYS_OFF = {"roofline": roofline_pays_off, "sweep": sweep_pays_off, "verilog": verilog_pays_off}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.model
@pytest.mark.rtl
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, id=str(p.relative_to(ROOT / "docs"))) for p in PAGES if long_commands(p)],
)
def test_what_takes_minutes(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in long_commands(page):
        run(command)


def run(command: str) -> None:
    """Run a plait command here; others (make, viewers) only have to be of a known kind."""
    words = shlex.split(command)
    if words[0] == "plait":
        assert main(words[1:]) == 0, command
    else:
        assert words[0] in ("make", "python", "gtkwave", "surfer"), command


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for page in ("index.html", "systems/index.html", "agreement/index.html"):
        assert (tmp_path / "site" / page).is_file()
    for path in (ROOT / "rtl").rglob("*.sv"):
        folder = tmp_path / "site" / path.relative_to(ROOT).with_suffix("")
        assert f'<h1 id="{path.stem.lower()}">' in (folder / "index.html").read_text()
    assert len([*(tmp_path / "site/formats").glob("*/index.html")]) == len(MODULES)
