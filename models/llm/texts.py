"""The text that comes with Plait, for perplexities that anyone can repeat."""

from __future__ import annotations

from pathlib import Path

from plait.files import read_text

__all__ = ["botchan"]


def botchan() -> str:
    """Give Botchan (Natsume Soseki, translated by Yasotaro Morri), which is in the public domain.

    >>> len(botchan().encode())
    255286
    """
    return read_text(Path(__file__).parent / "data/text_botchan.txt.gz")
