"""Pages that MkDocs makes from the sources: one a family of formats, one an RTL module, the keys of
decode units, and the tables of the README. Their places in the navigation are made here, too.
"""

from __future__ import annotations

import re
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from mkdocs.structure.files import File, Files

from plait.models.formats import packing
from plait.models.formats.registry import MODULES
from plait.models.formats.show import as_html, grids

ROOT = Path(__file__).resolve().parents[1]
_MOST_VALUES = 40  # of a grid that is listed
_SECTIONS = {"systems.md": "Systems of the papers", "agreement.md": "Measured errors"}


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation: formats, then modules by folder."""
    formats = ["formats/index.md", *(f"formats/{name}.md" for name in MODULES)]
    modules: list[Any] = ["hwgen.md", "rtl/index.md"]
    for folder, paths in groupby(module_paths(), key=lambda path: path.parent):
        title = folder.name.replace("_", " ").capitalize()
        modules.append({title: [page_of(path) for path in paths]})
    places = {"Number formats": formats, "Verilog": modules}
    nav = [{t: places.get(t, pages)} for entry in config.nav for t, pages in entry.items()]
    config.nav = nav + _unplaced(nav)
    return config


def _unplaced(nav: list[dict[str, Any]]) -> list[str]:
    """Put pages that mkdocs.yml does not name beside those of their folder; give the others."""
    entries = [pages for entry in nav for pages in entry.values()]
    named = [page for pages in entries for page in ([pages] if isinstance(pages, str) else pages)]
    folders = {str(Path(pages[0]).parent): pages for pages in entries if isinstance(pages, list)}
    left: list[str] = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        page = str(path.relative_to(ROOT / "docs"))
        if page not in named:
            beside = folders.get(str(Path(page).parent), left) if "/" in page else left
            beside.append(page)
    return left


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for name, text in (*format_pages(), *module_pages(), *section_pages(), unit_page()):
        files.append(File.generated(config, name, content=text))
    return files


def format_pages() -> list[tuple[str, str]]:
    """One page a module of `plait.models.formats`."""
    pages = [(f"formats/{name}.md", format_page(name)) for name in MODULES]
    links = "\n".join(f"- [{name}]({name}.md)" for name in MODULES)
    index = (
        "# Number formats\n\nA format is written once; quantiser, golden model, simulator and the "
        f"Verilog's decoder table read it. A page a family, made from the registry:\n\n{links}\n\n"
        "In a notebook a format shows itself as its page does. How to add one: "
        f"[a number format](../howto/format.md).\n\n## Packing\n\n{_packing()}\n"
    )
    return [("formats/index.md", index), *pages]


def format_page(name: str) -> str:
    """Describe the formats of one module: source, layout, bits, terms and grids."""
    module = import_module(f"plait.models.formats.{name}")
    rows = [
        f"| `{fmt.name}` | {fmt.code_bits} | {fmt.bits:g} | {_terms(fmt)} | {fmt.summary} |"
        for fmt in module.FORMATS
    ]
    text = [
        f"# Formats: {name}",
        str(module.__doc__),
        f"Defined in `models/formats/{name}.py`. {_packing()}",
        "",
        "| format | bits of a code | bits a value | terms | what it is |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    for fmt in module.FORMATS:
        if fmt.has_table:
            text += [f"## {fmt.name}", "", f"<div>{as_html(fmt)}</div>", "", *_grids(fmt), ""]
    return "\n".join(text)


def _packing() -> str:
    """The bit order, as the module that packs states it."""
    _, order, *_ = str(packing.__doc__).split("\n\n")
    return " ".join(order.split())


def _terms(fmt: Any) -> str:
    """Cycles in a bit-serial PE, if the format has terms."""
    return str(fmt.term_count) if fmt.term_form else ""


def _grids(fmt: Any) -> list[str]:
    """The values of every grid, shortened in the middle."""
    lines = []
    listed = grids(fmt)
    for selector, values in enumerate(listed):
        shown = [f"{value:g}" for value in values]
        if len(shown) > _MOST_VALUES:
            shown = [*shown[:8], f"... {len(shown) - 16} more ...", *shown[-8:]]
        label = f"selector {selector}: " if len(listed) > 1 else ""
        lines.append(f"- {label}{', '.join(shown)}")
    if fmt.selectors > len(listed) > 1:
        lines.append(f"- and {fmt.selectors - len(listed)} more selectors")
    return lines


def section_pages() -> list[tuple[str, str]]:
    """Sections of the README that are tables, a page each."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", readme, re.DOTALL | re.MULTILINE))
    return [(name, f"# {title}\n{sections[title]}") for name, title in _SECTIONS.items()]


def module_paths() -> list[Path]:
    """The sources of the library, folder by folder."""
    return sorted((ROOT / "rtl").rglob("*.sv"))


def page_of(path: Path) -> str:
    """The page of a module, in the folder that its source is in."""
    return f"{path.relative_to(ROOT).with_suffix('.md')}"


def unit_page() -> tuple[str, str]:
    """The keys of `decode_units`, from the schema of machines."""
    schema = import_module("plait.sim.spec.decode_units")
    text = ["# Keys of decode units", "", str(schema.__doc__), ""]
    for key, unit in schema.DecodeUnits.model_fields.items():
        part = next(kind for kind in get_args(unit.annotation) if kind is not type(None))
        text += [
            f"## {key}",
            "",
            str(part.__doc__),
            "",
            "| key | default | what |",
            "|---|---|---|",
        ]
        for name, one in part.model_fields.items():
            default = "needed" if one.is_required() else f"{one.default}"
            text.append(f"| `{name}` | {default} | {one.description} |")
        text.append("")
    return "families/decode_units_keys.md", "\n".join(text)


def module_pages() -> list[tuple[str, str]]:
    """One page a SystemVerilog module, from its header and ports."""
    paths = module_paths()
    pages = [(page_of(path), module_page(path)) for path in paths]
    index = ["# Verilog modules", "", "A page a module, made from its header and ports.", ""]
    for folder, inside in groupby(paths, key=lambda path: path.parent):
        index += [f"## {folder.relative_to(ROOT)}", ""]
        index += [f"- [{p.stem}]({folder.name}/{p.stem}.md): {_first_sentence(p)}" for p in inside]
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
