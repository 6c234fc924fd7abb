"""Pages that MkDocs makes from the sources: one a family of formats, one an RTL module."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ("integer", "minifloat", "bitmod", "ant", "olive", "mx", "codebook")
_MOST_VALUES = 40  # of a grid that is shown


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for name, text in (*format_pages(), *module_pages()):
        files.append(File.generated(config, name, content=text))
    return files


def format_pages() -> list[tuple[str, str]]:
    """One page a module of `plait.models.formats`."""
    pages = [(f"formats/{name}.md", format_page(name)) for name in FORMATS]
    links = "\n".join(f"- [{name}]({name}.md)" for name in FORMATS)
    index = (
        "# Number formats\n\nA format is written once; quantiser, golden model, simulator and the "
        f"Verilog's decoder table read it. A page a family, made from the registry:\n\n{links}\n"
    )
    return [("formats/index.md", index), *pages]


def format_page(name: str) -> str:
    """Describe the formats of one module: bits, terms and grids."""
    module = import_module(f"plait.models.formats.{name}")
    rows = [
        f"| `{fmt.name}` | {fmt.code_bits} | {fmt.bits:g} | {_terms(fmt)} | {fmt.summary} |"
        for fmt in module.FORMATS
    ]
    text = [
        f"# Formats: {name}",
        str(module.__doc__),
        "| format | bits of a code | bits a value | terms | what it is |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    for fmt in module.FORMATS:
        if fmt.has_table:
            text += [f"## {fmt.name}", "", *_grids(fmt), ""]
    return "\n".join(text)


def _terms(fmt: Any) -> str:
    """Cycles in a bit-serial PE, if the format has terms."""
    return str(fmt.term_count) if fmt.term_form else ""


def _grids(fmt: Any) -> list[str]:
    """The values of every grid, shortened in the middle."""
    lines = []
    choices = min(fmt.selectors, 8) if fmt.selector_bits else 1
    for selector in range(choices):
        values = np.unique(fmt.grid(selector)[np.isfinite(fmt.grid(selector))])
        shown = [f"{value:g}" for value in values]
        if len(shown) > _MOST_VALUES:
            shown = [*shown[:8], f"... {len(shown) - 16} more ...", *shown[-8:]]
        label = f"selector {selector}: " if choices > 1 else ""
        lines.append(f"- {label}{', '.join(shown)}")
    if fmt.selectors > choices > 1:
        lines.append(f"- and {fmt.selectors - choices} more selectors")
    return lines


def module_pages() -> list[tuple[str, str]]:
    """One page a SystemVerilog module, from its header and ports."""
    paths = sorted((ROOT / "rtl").rglob("*.sv"))
    pages = [(f"rtl/{path.stem}.md", module_page(path)) for path in paths]
    folders = sorted({path.parent for path in paths})
    index = ["# Verilog modules", "", "A page a module, made from its header and ports.", ""]
    for folder in folders:
        index += [f"## {folder.relative_to(ROOT)}", ""]
        index += [
            f"- [{p.stem}]({p.stem}.md): {_first_sentence(p)}" for p in sorted(folder.glob("*.sv"))
        ]
        index.append("")
    return [("rtl/index.md", "\n".join(index)), *pages]


def module_page(path: Path) -> str:
    """The header comment as text, then parameters and ports as they are."""
    source = path.read_text(encoding="utf-8")
    header = "\n".join(_header(path))
    declared = re.search(r"^module .*?\);|^package .*?;", source, re.DOTALL | re.MULTILINE)
    ports = declared[0] if declared else ""
    return (
        f"# {path.stem}\n\n`{path.relative_to(ROOT)}`\n\n```text\n{header}\n```\n\n"
        f"```systemverilog\n{ports}\n```\n"
    )


def _header(path: Path) -> list[str]:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        lines.append(line[2:].removeprefix(" "))
    return [line for line in lines if "SPDX" not in line]


def _first_sentence(path: Path) -> str:
    text = " ".join(" ".join(_header(path)).split())
    return text.removeprefix(f"{path.stem}:").strip().split(". ")[0].split("; ")[0].rstrip(".")
