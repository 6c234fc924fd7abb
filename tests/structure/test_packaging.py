"""What is packed is what is tracked: links, packages, wheel and sdist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[2]
STRANDS = ("models", "sim", "hwgen", "rtl")
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked(*folders: str) -> list[str]:
    """Files of the repository under the given folders, as git lists them."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, check=False
    )
    if listing.returncode:
        pytest.skip("the folder is no git repository, so there is no list to compare with")
    return [name for name in listing.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("strand", STRANDS)
def test_strand_is_a_relative_link_in_the_face(strand: str) -> None:
    link = ROOT / "plait" / strand
    assert link.is_symlink()
    assert os.readlink(link) == f"../{strand}"


def test_packages_are_the_folders_with_python_in_them() -> None:
    packages = set(find_packages(str(ROOT), include=["plait*"]))
    folders = {
        "plait." + Path(name).parent.as_posix().replace("/", ".")
        for name in tracked("models", "sim", "hwgen")
        if name.endswith(".py")
    }
    assert folders | {"plait", "plait.cli"} == packages


def test_every_data_suffix_is_packed() -> None:
    patterns = CONFIGURATION["tool"]["setuptools"]["package-data"]["*"]
    suffixes = {pattern.removeprefix("*") for pattern in patterns}
    left_out = [
        name
        for name in tracked("plait", *STRANDS)
        if not name.endswith((".py", *suffixes)) and not (ROOT / name).is_symlink()
    ]
    assert left_out == []


def test_torch_is_pinned_and_no_index_is_named() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in lines
    pinned = re.compile(r"[\w.-]+==[\w.]+")
    assert [line for line in lines if line[0] != "#" and not pinned.fullmatch(line)] == []


def test_constraints_pin_every_dependency() -> None:
    project = CONFIGURATION["project"]
    asked = [*project["dependencies"]]
    asked += [name for extra in project["optional-dependencies"].values() for name in extra]
    names = {re.match(r"[\w.-]+", line)[0] for line in asked}  # type: ignore[index]
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    same = {name.lower().replace("_", "-") for name in pinned}
    assert {name for name in names if name.lower().replace("_", "-") not in same} == set()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from that sdist, of the tracked files alone."""
    clone, out = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name, follow_symlinks=False)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(clone)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


@pytest.mark.slow
def test_wheel_holds_the_tracked_files(distributions: Path) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    here = {f"plait/{name}" for name in tracked(*STRANDS)} | {
        name for name in tracked("plait") if not (ROOT / name).is_symlink()
    }
    assert packed == here


@pytest.mark.slow
def test_sdist_holds_the_tests_and_the_constraints(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*tracked("tests"), "constraints.txt", "Makefile", "CHANGELOG.md", "LICENSE"}
    assert wanted - packed == set()


@pytest.mark.slow
def test_wheel_works_outside_the_repository(distributions: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = (
        "import plait; print(plait.__file__);"
        "print(plait.simulate('llama-2-7b', 'bitmod-lossy', fidelity='published').cycles)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = str(tmp_path / "site/plait/__init__.py")
    assert done.stdout.split() == [imported, "81344464"], done.stderr[-2000:]


SPACE = """\
model: llama-2-7b
machine: bitmod-lossy
vary: {array.decode.rows: [16, 32]}
"""
TRACE = "arrival_s,context,generated\n0,100,5\n0.5,80,4\n"
CLUSTER = """\
model: llama-2-7b
policy: continuous_batching
devices: [{machine: h100, count: 1}]
"""
EVERY_PART = """
import sys, plait
from plait.cli import main
from plait.models.llm.config import shape_names
from plait.models.llm.texts import botchan
from plait.sim.spec import accelerator_names

assert plait.__file__.startswith(sys.argv[1]), plait.__file__
for command in (
    "--version",
    "machines",
    "models",
    "formats",
    "rewrites",
    "simulate llama-2-7b flightllm-u280 --context 128 --fidelity published",
    "simulate llama-2-7b a6000 --csv a.csv --html a.html",
    "sweep space.yaml -o a.parquet",
    "pareto a.parquet",
    "serve trace.csv cluster.yaml --html b.html",
    "generate bitmod-small -o bitmod",
    "generate flightllm-small -o flightllm",
    "generate offload-small -o offload",
    "agreement roofline",
):
    assert main(command.split()) == 0, command
assert len(shape_names()) > 10 and len(botchan()) > 10_000
for name in accelerator_names():
    plait.load_accelerator(name)
"""


@pytest.mark.slow
@pytest.mark.long
def test_every_part_of_the_wheel_finds_its_files(distributions: Path, tmp_path: Path) -> None:
    """Presets, shapes, published rows, texts, RTL and templates, from an otherwise empty folder."""
    site, work = tmp_path / "site", tmp_path / "work"
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        wheel.extractall(site)
        points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "plait = plait.cli:main" in wheel.read(points).decode()
    work.mkdir()
    for name, text in (("space.yaml", SPACE), ("trace.csv", TRACE), ("cluster.yaml", CLUSTER)):
        (work / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", EVERY_PART, str(site)], cwd=work,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    assert str(ROOT) not in done.stdout + done.stderr
    for folder in ("bitmod", "flightllm", "offload"):
        listed = [
            line for line in (work / folder / "sources.f").read_text().split() if line[0] != "+"
        ]
        assert listed
        assert [name for name in listed if not (work / folder / name).is_file()] == []
