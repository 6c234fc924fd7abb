"""The text that perplexities are measured on."""

from __future__ import annotations

from plait.models.llm.texts import botchan


def test_the_book_is_there_whole() -> None:
    text = botchan()
    assert len(text.encode()) == 255_286
    assert "BOTCHAN (MASTER DARLING)" in text[:200]
