"""Print lines of code, a row a package: python tests/structure/size.py."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STRANDS = ("models", "sim", "hwgen", "rtl", "plait", "tests", "benchmarks")
SUFFIXES = {".py", ".sv", ".svh", ".cpp", ".h", ".j2", ".js", ".css", ".html"}


def main() -> None:
    """Count the lines of every folder of sources, links left out."""
    total = 0
    print(f"{'folder':32} {'files':>6} {'lines':>7} {'largest':>8}")
    for folder in sorted(p for s in STRANDS for p in _folders(ROOT / s)):
        counts = [_lines(file) for file in sorted(folder.iterdir()) if file.suffix in SUFFIXES]
        if counts:
            total += sum(counts)
            name = folder.relative_to(ROOT).as_posix()
            print(f"{name:32} {len(counts):6} {sum(counts):7} {max(counts):8}")
    print(f"{'all':32} {'':6} {total:7}")


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink() or folder.name == "__pycache__":
        return []
    return [folder, *(p for child in folder.iterdir() if child.is_dir() for p in _folders(child))]


def _lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    main()
