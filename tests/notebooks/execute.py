"""Runs notebooks, and keeps what they show without what disturbs a reader.

python tests/notebooks/execute.py          # runs all and writes their outputs: `make notebooks`
python tests/notebooks/execute.py 04 05    # runs those of these numbers
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LIMIT_S = 600


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in a fresh kernel, in a folder of its own for the files that it writes.

    An error in a cell is raised with its trace.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=LIMIT_S,
            kernel_name="python3",
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    return tidy(notebook)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out warnings, progress and times of execution."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel})
    return notebook


def main() -> None:
    """Run every notebook, or those named by their numbers, and write it back."""
    wanted = tuple(sys.argv[1:]) or ("",)
    for path in sorted(p for p in NOTEBOOKS.glob("*.ipynb") if p.name.startswith(wanted)):
        begun = time.perf_counter()
        nbformat.write(execute(path), path)
        sys.stdout.write(f"{path.name}: {time.perf_counter() - begun:.0f} s\n")


if __name__ == "__main__":
    main()
