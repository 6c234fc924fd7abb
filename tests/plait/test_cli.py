"""The command line: statuses, one line an error, JSON alone on standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from plait.cli import main
from plait.cli.app import app
from plait.models.graph import load_graph
from plait.models.quantize import load_tensors

COMMANDS = sorted(get_command(app).commands)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as a user's mistake; give its one line."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_one_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, command, "--help")
    assert (status, err) == (0, "")
    assert out.count("Example: plait ") == 1
    assert f"plait {command}" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, "plait 0.1.0\n", "")


def completed(capsys: pytest.CaptureFixture[str]) -> str:
    """What the shell gets; Typer ends the process by itself there."""
    with pytest.raises(SystemExit) as ended:
        main([])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.err) == (0, "")
    return captured.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("plait simul", "simulate"),
        ("plait simulate llama-2-7", "llama-2-7b"),
        ("plait simulate llama-2-7b flightllm-u", "flightllm-u280"),
        ("plait simulate llama-2-7b bitmod-lossy --phase pre", "prefill"),
        ("plait simulate llama-2-7b bitmod-lossy --fid", "--fidelity"),
        ("plait perplexity smollm2-135m --format bitmod", "bitmod4"),
        ("plait generate flightllm-s", "flightllm-small"),
    ],
)
def test_completion(
    shell: str, typed: str, offered: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("_PLAIT_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", typed)  # zsh and fish
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("COMP_WORDS", typed)  # bash
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    out = completed(capsys)
    assert offered in out
    assert "fp16-baseline" not in out  # only what begins so


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_PLAIT_COMPLETE", f"source_{shell}")
    out = completed(capsys)
    assert f"_PLAIT_COMPLETE=complete_{shell}" in out


def test_without_a_command_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys)
    assert status == 0
    assert "simulate" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["simulat"], "simulate"),
        (["simulate"], "MODEL"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--context", "many"], "--context"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--contxt", "3"], "--context"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--set", "rows"], "KEY=VALUE"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--set", "array.decode.row=3"], "rows"),
        (["simulate", "llama-2-7b", "bitmod-lossi"], "bitmod-lossy"),
        (["simulate", "llama-2-7b", "no-such.yaml"], "no-such.yaml: cannot be read"),
        (["simulate", "llama-2-7", "bitmod-lossy"], "llama-2-7b"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--context", "0"], "context"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--context", str(10**30)], "context"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--batch", "-1"], "batch"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--phase", "decod"], "decode"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--fidelity", "publishd"], "published"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--formats", "weight=int44"], "int4"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--formats", "weight"], "weight"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--csv", "no/such/folder/a.csv"], "a.csv"),
        (["simulate", "llama-2-7b", "bitmod-lossy", "--html", "no/such/folder/a.html"], "a.html"),
        (["perplexity", "smollm2-135m", "--text", "no-such.txt"], "no-such.txt"),
        (["formats", "extra"], "extra"),
        (["quantize", "smollm2-135m", "--format", "bitmod5"], "bitmod4"),
        (["quantize", "smollm2-135m", "--format", "int4", "--group", "none"], "--group"),
        (["perplexity", "llama-2-7b", "--text", __file__], "only the shape"),
        (["export", "llama-2-7b", "-o", "model.onnx"], ".pt2"),
        (["export", "llama-2-7", "-o", "model.pt2"], "llama-2-7b"),
        (["generate", "bitmod-small"], "--output"),
        (["generate", "a100-40g", "-o", "none"], "no Verilog"),
        (["generate", "bitmod-small", "-o", "none", "--phase", "train"], "decode"),
        (["generate", "offload-small", "-o", "none", "--phase", "prefill"], "expected decode"),
        (["generate", "flightllm-small", "-o", "none", "--phase", "prefill"], "expected decode"),
        (["area", "bitmod-small", "--phase", "train"], "unknown phase 'train'"),
        (["area", "flightllm-small", "--phase", "train"], "unknown phase 'train'"),
        (["cosimulate", "bitmod-small", "--activation", "fp8"], "fp16"),
        (["cosimulate", "bitmod-small", "--phase", "train"], "unknown phase 'train'"),
        (["cosimulate", "bitmod-small", "--stall", "1"], "stall"),
        (["cosimulate", "bitmod-small", "--trace", "a.vcd"], "one --layer"),
        (["cosimulate", "flightllm-small", "--activation", "fp16"], "known are int8"),
        (["cosimulate", "flightllm-small", "--phase", "prefill"], "expected decode"),
        (["cosimulate", "flightllm-small", "--stall", "1"], "stall"),
        (["cosimulate", "offload-small", "--activation", "int8"], "--activation: is not of"),
        (["cosimulate", "offload-small", "--phase", "prefill"], "expected decode"),
        (["cosimulate", "offload-small", "--trace", "a.vcd"], "--trace: is not of"),
        (["cosimulate", "offload-small", "--stall", "nan"], "stall"),
    ],
)
def test_mistakes_take_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(capsys, *arguments)


@pytest.mark.parametrize("command", ["formats", "machines", "models"])
def test_lists_as_json_and_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, command, "--json")
    assert (status, err) == (0, "")
    names = [entry["name"] for entry in json.loads(out)[command]]
    assert len(set(names)) == len(names) > 10
    status, out, err = run(capsys, command)
    assert (status, err) == (0, "")
    assert [name for name in names if name not in out] == []


def test_simulate_gives_the_published_cycles_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "simulate llama-2-7b bitmod-lossy --phase decode --context 256"
    status, out, err = run(capsys, *arguments.split(), "--fidelity", "published", "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["totals"]["cycles"] == 81344464
    assert document["totals"]["cycles"] == sum(row["cycles"] for row in document["rows"])
    assert (document["model"], document["accelerator"]) == ("llama-2-7b", "bitmod-lossy")


def test_simulate_writes_csv_and_html(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, html = tmp_path / "ops.csv", tmp_path / "page.html"
    arguments = ["simulate", "smollm2-135m", "bitmod-lossy", "--csv", str(csv), "--html", str(html)]
    status, out, err = run(capsys, *arguments)
    assert (status, err) == (0, "")
    assert "lm_head" in out
    assert csv.read_text().startswith("op,")
    assert "<title>smollm2-135m on bitmod-lossy</title>" in html.read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ops.csv", "page.html"]


@pytest.mark.slow
def test_export_writes_a_file_that_can_be_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.pt2"
    status, out, _ = run(capsys, "export", "smollm2-135m", "-o", str(file), "--json")
    assert status == 0
    assert json.loads(out)["bytes"] == file.stat().st_size
    named = run(capsys, "simulate", "smollm2-135m", "bitmod-lossy", "--json")[1]
    filed = run(capsys, "simulate", str(file), "bitmod-lossy", "--json")[1]
    assert json.loads(named)["totals"] == json.loads(filed)["totals"]
    status, _, error = run(capsys, "export", str(file), "-o", str(tmp_path / "again.pt2"))
    assert status == 2
    assert "is exported already" in error


@pytest.mark.slow
def test_export_of_a_model_without_attention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.pt2"
    assert run(capsys, "export", "matmul-free-370m", "-o", str(file))[0] == 0
    assert load_graph(file).parameters == load_graph("matmul-free-370m").parameters


@pytest.mark.model
@pytest.mark.slow
def test_quantize_saves_what_perplexity_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, text = tmp_path / "small.safetensors", tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 40)
    how = ["smollm2-135m", "--format", "bitmod4", "--group", "64", "--json"]
    status, out, _ = run(capsys, "quantize", *how, "-o", str(file))
    assert status == 0
    stored = load_tensors(file)
    document = json.loads(out)
    assert len(stored) == document["layers"] == 210
    assert document["bits_per_weight"] == pytest.approx(4 + (32 + 2) / 64)
    assert "Q4_1" in document["note"]
    measure = ["--text", str(text), "--window", "64", "--windows", "2"]
    status, out, _ = run(capsys, "perplexity", *how, *measure)
    assert status == 0
    assert 1 < json.loads(out)["perplexity"] < 100


def test_generate_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "generate", "bitmod-small", "-o", str(tmp_path), "--json")
    assert (status, err) == (0, "")
    manifest = json.loads(out)
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    assert [name for name in manifest["files"] if not (tmp_path / name).is_file()] == []


@pytest.mark.rtl
@pytest.mark.model
@pytest.mark.slow
def test_cosimulate_a_real_linear(capsys: pytest.CaptureFixture[str]) -> None:
    layer = ["--layer", "layers.0.self_attn.k_proj", "--tokens", "4"]
    status, out, _ = run(capsys, "cosimulate", "bitmod-small", *layer, "--json")
    assert status == 0
    document = json.loads(out)
    assert document["values_compared"] == 4 * 192
    assert document["values_different"] == 0
    assert document["cycles_measured"] == document["cycles_predicted"]


def test_override_changes_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["simulate", "smollm2-135m", "bitmod-lossy", "--json"]
    slow = json.loads(run(capsys, *base)[1])["totals"]
    fast = json.loads(run(capsys, *base, "--set", "clock_hz=2e9")[1])["totals"]
    assert fast["cycles"] == slow["cycles"]
    assert fast["seconds"] == pytest.approx(slow["seconds"] / 2)


def plait(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("plait")
    return subprocess.run(
        [str(program), *arguments],
        **{"capture_output": True, "text": True, "check": False, **options},
    )


def test_as_a_process_nothing_is_coloured_or_folded_when_piped() -> None:
    done = plait("machines")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout


def test_narrow_terminal() -> None:
    done = plait("simulate", "--help", env={**os.environ, "COLUMNS": "40"})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 40


def test_a_reader_that_leaves_is_no_error() -> None:
    program = Path(sys.executable).with_name("plait")
    command = f"{program} models | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_full_disk_takes_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = plait("models", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 2
    assert done.stderr == "error: no space left on device\n"


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("plait.doctor.examine", interrupt)
    assert run(capsys, "doctor") == (130, "", "error: interrupted\n")


def test_doctor_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from plait.doctor import Check

    check = Check("perl", "rtl", "starts Verilator", "", "install perl")
    monkeypatch.setattr("plait.doctor.examine", lambda: [check])
    status, out, _ = run(capsys, "doctor")
    assert status == 1
    assert "missing: perl: install perl" in out
