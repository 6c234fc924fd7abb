"""The texts that come with Plait, for figures that anyone can repeat; all in the public domain."""

from __future__ import annotations

from pathlib import Path

from plait.files import read_text

__all__ = ["botchan", "drill_regulations", "log_school_house"]


def botchan() -> str:
    """Give Botchan (Natsume Soseki, translated by Yasotaro Morri): a novel.

    >>> len(botchan().encode())
    255286
    """
    return _text("botchan")


def drill_regulations() -> str:
    """Give the principles of combat from Infantry Drill Regulations (United States Army, 1911).

    >>> len(drill_regulations().encode())
    37641
    """
    return _text("regulations")


def log_school_house() -> str:
    """Give the beginning of The Log School-House on the Columbia (Hezekiah Butterworth, 1890).

    Methods are calibrated with it, so nothing is measured on it.

    >>> len(log_school_house().encode())
    32581
    """
    return _text("school_house")


def _text(name: str) -> str:
    return read_text(Path(__file__).parent / f"data/text_{name}.txt.gz")
