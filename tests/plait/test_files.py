"""Files that appear whole or not at all, and text that is read with one line of complaint."""

from __future__ import annotations

import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plait.errors import PlaitError
from plait.files import cache_folder, read_text, refuse_unwritable, write_atomically


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        _write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def _write_half(target: Path) -> None:
    with write_atomically(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    with write_atomically(tmp_path / "ours") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    target = tmp_path / "none" / "a.txt"
    with pytest.raises(PlaitError, match=r"none/a\.txt: cannot be written: no such file"):
        write_atomically(target).__enter__()


def test_text_plain_and_gzipped(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("naïve", encoding="utf-8")
    (tmp_path / "b").write_bytes(gzip.compress("naïve".encode()))
    assert read_text(tmp_path / "a") == read_text(tmp_path / "b") == "naïve"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(bytes(1000), mtime=0)[:20], "damaged or cut gzip"),
        (b"\x1f\x8bnothing", "damaged or cut gzip"),
        (b"\xff\xfe", "not text"),
    ],
)
def test_bad_text(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(PlaitError, match=says):
        read_text(tmp_path / "bad")


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="is a directory"):
        read_text(tmp_path)


def test_a_link_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "a.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    with write_atomically(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text)
        with write_atomically(pipe) as temporary:
            temporary.write_text("through")
        assert read.result(timeout=10) == "through"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="cannot be written: is a directory"):
        refuse_unwritable(tmp_path)


def test_a_trial_of_writing_leaves_nothing(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_one_folder_keeps_what_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("PLAIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # of Linux; elsewhere the system decides
    assert cache_folder().name in ("plait", "Cache")
