"""Runs notebooks, and keeps what they show without what disturbs a reader.

python tests/notebooks/execute.py    # runs all and writes their outputs: `make notebooks`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LIMIT_S = 600


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in a fresh kernel; an error in a cell is raised with its trace."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=LIMIT_S, kernel_name="python3", resources={"metadata": {"path": "."}}
    ).execute()
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
    """Run every notebook and write it back."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        begun = time.perf_counter()
        nbformat.write(execute(path), path)
        sys.stdout.write(f"{path.name}: {time.perf_counter() - begun:.0f} s\n")


if __name__ == "__main__":
    main()
