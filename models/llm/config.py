"""`LLMShape`: the sizes and switches of one decoder LLM, read from YAML or a `config.json`.

Takes a zoo name, a YAML file or a Hugging Face folder. Loads no torch: the simulator reads shapes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plait.errors import SpecError, unknown_name
from plait.files import reason

__all__ = ["LLMShape", "load_shape", "shape_from_huggingface", "shape_names"]

ZOO = Path(__file__).parent / "zoo"
NORMS = ("rms_norm", "layer_norm")
ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu")
POSITIONS = ("rope", "learned")
_LARGEST_FILE = 1 << 20  # bytes; a shape is some twenty lines
_LARGEST_SIZE = 1 << 22  # channels, heads, tokens of a vocabulary: more than any LLM has
_LARGEST = {"layers": 1 << 10, "experts": 1 << 12, "max_positions": 1 << 26}


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMShape:
    """Sizes and switches of a decoder LLM; the defaults are those of Llama.

    >>> load_shape("llama-2-7b").parameters
    6738415616
    """

    name: str
    layers: int
    hidden: int
    """Width of the residual stream."""
    heads: int
    """Query heads."""
    kv_heads: int
    """Key and value heads; divides `heads`."""
    head_dim: int
    ffn: int
    """Inner width of the feed-forward part (of one expert, if there are experts)."""
    vocab: int
    max_positions: int
    """Longest context of the published model, in tokens."""
    gated: bool = True
    """Three matrices in the feed-forward part (gate, up, down) instead of two (fc1, fc2)."""
    norm: str = "rms_norm"
    """`rms_norm` or `layer_norm`."""
    norm_eps: float = 1e-5
    activation: str = "silu"
    """`silu`, `gelu` (exact), `gelu_tanh` or `relu`."""
    position: str = "rope"
    """`rope`, or `learned` (a table of `max_positions` rows)."""
    rope_theta: float = 10000.0
    rope_fraction: float = 1.0
    """Part of each head that is rotated (0.4 in Phi-2)."""
    rope_factor: float = 1.0
    """Stretch of the low frequencies as in Llama 3.1; 1 is none."""
    rope_low_frequency: float = 1.0
    rope_high_frequency: float = 4.0
    rope_original_positions: int = 0
    """Context before the stretch, in tokens; needed when `rope_factor` is not 1."""
    tied: bool = False
    """The output matrix is the embedding."""
    qkv_bias: bool = False
    output_bias: bool = False
    """Bias of the attention's output projection."""
    ffn_bias: bool = False
    head_bias: bool = False
    """Bias of lm_head."""
    qk_norm: bool = False
    """RMS norm over each query and key head (Qwen 3)."""
    parallel: bool = False
    """Attention and feed-forward part read the same normed input (Phi-2)."""
    embedding_scale: float = 1.0
    """Factor on the embeddings (Gemma: the square root of `hidden`)."""
    experts: int = 0
    """Experts of a mixture; 0 is a dense model."""
    experts_active: int = 0
    """Experts a token visits."""
    experts_renormalise: bool = True
    """The weights of the visited experts are scaled to sum to 1."""

    def __post_init__(self) -> None:
        _check(self, self.name)

    @property
    def rotary_dim(self) -> int:
        """Channels of a head that are rotated."""
        return int(self.head_dim * self.rope_fraction) if self.position == "rope" else 0

    @property
    def query_width(self) -> int:
        """Output channels of q_proj."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Output channels of k_proj, and of v_proj."""
        return self.kv_heads * self.head_dim

    @property
    def parameters(self) -> int:
        """Weights of the whole model; tied matrices count once."""
        norm = self.hidden * (2 if self.norm == "layer_norm" else 1)
        layer_norms = norm * (1 if self.parallel else 2) + 2 * self.head_dim * self.qk_norm
        embeddings = self.vocab * self.hidden
        positions = self.max_positions * self.hidden if self.position == "learned" else 0
        head = (0 if self.tied else embeddings) + self.vocab * self.head_bias
        per_layer = self._attention_parameters + self._ffn_parameters + layer_norms
        return self.layers * per_layer + embeddings + positions + norm + head

    @property
    def _attention_parameters(self) -> int:
        projected = self.query_width + 2 * self.kv_width
        biases = projected * self.qkv_bias + self.hidden * self.output_bias
        return self.hidden * (projected + self.query_width) + biases

    @property
    def _ffn_parameters(self) -> int:
        matrices = (3 if self.gated else 2) * self.hidden * self.ffn
        biases = (self.ffn * (2 if self.gated else 1) + self.hidden) * self.ffn_bias
        router = self.experts * self.hidden
        return max(self.experts, 1) * (matrices + biases) + router

    def with_(self, **changes: Any) -> LLMShape:
        """Copy with some fields changed, checked again."""
        _refuse_unknown(changes, self.name)
        return dataclasses.replace(self, **changes)


def shape_names() -> list[str]:
    """Names of the published shapes, sorted."""
    return sorted(path.stem for path in ZOO.glob("*.yaml"))


def load_shape(source: str | Path | LLMShape) -> LLMShape:
    """Load a shape.

    Args:
        source: a zoo name, a YAML file, a Hugging Face folder, or a shape (returned as it is).

    >>> load_shape("llama-2-7b").layers
    32
    """
    if isinstance(source, LLMShape):
        return source
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        return _shape_from_yaml(path)
    if path.is_dir():
        return shape_from_huggingface(path)
    if str(source) not in shape_names():
        raise SpecError(unknown_name("model", str(source), shape_names()))
    return _zoo_shape(str(source))


def shape_from_huggingface(folder: str | Path) -> LLMShape:
    """Shape of a Hugging Face folder, from its `config.json`."""
    from plait.models.llm.huggingface import shape_fields

    path = Path(folder)
    return _shape_from_mapping(shape_fields(path), str(path / "config.json"), path.name)


@functools.cache
def _zoo_shape(name: str) -> LLMShape:
    return _shape_from_yaml(ZOO / f"{name}.yaml")


def _shape_from_yaml(path: Path) -> LLMShape:
    text = _read_small_text(path)
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"not YAML: {str(error)[:200]}", where=str(path)) from None
    return _shape_from_mapping(values, str(path), default_name=path.stem)


def _shape_from_mapping(values: object, where: str, default_name: str) -> LLMShape:
    if not isinstance(values, dict):
        raise SpecError("not a mapping of keys to values", where=where, got=type(values).__name__)
    _refuse_unknown(values, where)
    missing = [
        field.name
        for field in dataclasses.fields(LLMShape)
        if field.default is dataclasses.MISSING and field.name not in values | {"name": ""}
    ]
    if missing:
        raise SpecError(f"missing {', '.join(missing)}", where=where)
    fields: dict[str, Any] = {"name": default_name}
    fields |= {key: _converted(key, value, where) for key, value in values.items()}
    _check_values(fields, where)
    return LLMShape(**fields)


def _converted(key: str, value: object, where: str) -> object:
    """Value with the type of the field; YAML reads 1e6 as text, and 1 where 1.0 is meant."""
    wanted = _FIELD_TYPES[key]
    if wanted == "float" and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise SpecError("not a number", where=f"{where}: {key}", got=value) from None
    return value


def _refuse_unknown(values: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in _FIELD_TYPES:
            raise SpecError(unknown_name("key", key, _FIELD_TYPES), where=where)


def _check(shape: LLMShape, where: str) -> None:
    _check_values({name: getattr(shape, name) for name in _FIELD_TYPES}, where)


_MAY_BE_ZERO = {"experts", "experts_active", "rope_original_positions"}
_CHOICES = {"norm": NORMS, "activation": ACTIVATIONS, "position": POSITIONS}


def _check_values(values: Mapping[str, Any], where: str) -> None:
    """Raise a one-line error naming ``where`` and the key, unless all fields fit."""
    for key, value in values.items():
        _check_one(key, value, f"{where}: {key}")
    shape = {**_DEFAULTS, **values}
    _check_rules(shape, where)


def _check_one(key: str, value: object, where: str) -> None:
    wanted = _FIELD_TYPES[key]
    if type(value).__name__ != wanted:  # exactly: True is an int in Python, not in a shape
        shown = value if isinstance(value, int | float | str) else type(value).__name__
        raise SpecError("wrong type", where=where, got=shown, expected=f"{wanted}")
    if isinstance(value, bool):
        return
    if isinstance(value, str):
        if key in _CHOICES and value not in _CHOICES[key]:
            raise SpecError("unknown choice", where=where, got=value, expected=_any(_CHOICES[key]))
    elif isinstance(value, int):
        least, most = 0 if key in _MAY_BE_ZERO else 1, _LARGEST.get(key, _LARGEST_SIZE)
        if not least <= value <= most:
            raise SpecError("out of range", where=where, got=value, expected=f"{least} to {most}")
    elif isinstance(value, float) and not (math.isfinite(value) and value > 0):
        raise SpecError("out of range", where=where, got=value, expected="a positive number")


def _check_rules(shape: Mapping[str, Any], where: str) -> None:
    """Rules between fields."""

    def require(holds: bool, key: str, expected: str) -> None:
        if not holds:
            raise SpecError(
                "does not fit", where=f"{where}: {key}", got=shape[key], expected=expected
            )

    require(shape["heads"] % shape["kv_heads"] == 0, "kv_heads", f"a divisor of {shape['heads']}")
    require(shape["rope_fraction"] <= 1, "rope_fraction", "at most 1")
    if shape["position"] == "rope":
        rotated = int(shape["head_dim"] * shape["rope_fraction"])
        require(rotated % 2 == 0 and rotated > 0, "head_dim", "an even number of rotated channels")
    require(
        shape["rope_factor"] == 1 or shape["rope_original_positions"] > 0,
        "rope_original_positions",
        "the context before the stretch, since rope_factor is given",
    )
    if shape["experts"]:
        most = shape["experts"]
        require(1 <= shape["experts_active"] <= most, "experts_active", f"1 to {most}")
        require(shape["gated"], "gated", "true for a mixture of experts")
        require(not shape["ffn_bias"], "ffn_bias", "false for a mixture of experts")
    else:
        require(shape["experts_active"] == 0, "experts_active", "0, since experts is 0")


def _any(names: tuple[str, ...]) -> str:
    return " or ".join(names)


_FIELD_TYPES: dict[str, str] = {
    field.name: str(field.type) for field in dataclasses.fields(LLMShape)
}
_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(LLMShape)
    if field.default is not dataclasses.MISSING
}


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice, and keys that are not text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if not isinstance(key, str) or key in keys[:index]:
                raise ValueError(f"key {str(key)[:40]!r} is given twice or is not text")
        return super().construct_mapping(node, deep)


def _read_small_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise SpecError("larger than 1 MiB, no description of a model", where=str(path))
        return data.decode("utf-8")
    except OSError as error:
        raise SpecError(f"cannot be read: {reason(error)}", where=str(path)) from None
    except UnicodeDecodeError:
        raise SpecError("not a text file", where=str(path)) from None
