"""What descriptions are made of: immutable sections, whole numbers, finite numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Integer", "Number", "Section"]


def _whole(value: object) -> object:
    """Let 512e3 stand for 512000; leave every other value to the strict integer check."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of a description: immutable, and no key that the schema does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
