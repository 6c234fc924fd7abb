"""Plait: one description of an LLM machine, three views that agree: values, time, gates.

>>> import plait
>>> plait.__version__
'0.1.0'
"""

from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if not (_Path(__file__).parent / "models").is_dir():
    raise ImportError(
        "plait/models is not a folder: git wrote the links of this checkout as text files; "
        "set core.symlinks to true and check out again, or install a wheel"
    )

if TYPE_CHECKING:
    from plait.api import (
        agreement,
        area,
        cosimulate,
        execute,
        export,
        generate,
        load_accelerator,
        load_model,
        load_module,
        long_context,
        map_to_fpga,
        pareto,
        perplexity,
        quantize,
        rewrite,
        search,
        serve,
        simulate,
        sweep,
    )

__all__ = [
    "__version__",
    "agreement",
    "area",
    "cosimulate",
    "execute",
    "export",
    "generate",
    "load_accelerator",
    "load_model",
    "load_module",
    "long_context",
    "map_to_fpga",
    "pareto",
    "perplexity",
    "quantize",
    "rewrite",
    "search",
    "serve",
    "simulate",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from plait import api

        return getattr(api, name)
    raise AttributeError(f"module 'plait' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
