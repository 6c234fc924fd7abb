"""Descriptors: what the host tells the bit-serial machine to multiply, and where it lies.

A descriptor is two words of the memory port (their low 256 bits); a program is a list of them, the
last one marked. The second word holds counts derived from the first, so that the hardware needs no
divider. `FIELDS` is the only definition of the bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.bit_serial.layout import DESCRIPTOR_BITS, Shape

__all__ = ["DESCRIPTOR_WORDS", "FIELDS", "MAGIC", "Descriptor", "decode", "disassemble", "encode"]

MAGIC = 0x50
DESCRIPTOR_WORDS = 2


class Field(NamedTuple):
    """Where a field lies: word of the descriptor, lowest bit, width."""

    word: int
    low: int
    bits: int


FIELDS = {
    "last": Field(0, 0, 1),
    "format_index": Field(0, 4, 4),
    "int8_activations": Field(0, 8, 1),
    "magic": Field(0, 24, 8),
    "weight_address": Field(0, 32, 32),
    "activation_address": Field(0, 64, 32),
    "result_address": Field(0, 96, 32),
    "tokens": Field(0, 128, 32),
    "outputs": Field(0, 160, 32),
    "inputs": Field(0, 192, 32),
    "group_size": Field(0, 224, 32),
    "token_tiles": Field(1, 0, 32),
    "output_tiles": Field(1, 32, 32),
    "groups": Field(1, 64, 32),
    "steps_per_group": Field(1, 96, 32),
    "last_group_steps": Field(1, 128, 32),
    "activation_words": Field(1, 160, 32),
    "weight_words": Field(1, 192, 32),
    "result_words": Field(1, 224, 32),
}
_COUNTS = (
    "token_tiles",
    "output_tiles",
    "groups",
    "steps_per_group",
    "last_group_steps",
    "activation_words",
    "weight_words",
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One matrix multiplication; addresses and words count transfers of the memory port.

    Args:
        last: no descriptor follows.
        format_index: position of the weights' format in the machine's list of formats.
        int8_activations: activations are INT8, not FP16.
        activation_words: words of one token tile.
        weight_words: words of the whole matrix.
        result_words: words of the results of one tile.
    """

    last: bool
    format_index: int
    int8_activations: bool
    weight_address: int
    activation_address: int
    result_address: int
    tokens: int
    outputs: int
    inputs: int
    group_size: int
    token_tiles: int
    output_tiles: int
    groups: int
    steps_per_group: int
    last_group_steps: int
    activation_words: int
    weight_words: int
    result_words: int
    magic: int = MAGIC

    def __post_init__(self) -> None:
        for name, field in FIELDS.items():
            value = int(getattr(self, name))
            if not 0 <= value < 1 << field.bits:
                raise SpecError(
                    "does not fit the descriptor",
                    where=f"descriptor.{name}",
                    got=value,
                    expected=f"0 to {(1 << field.bits) - 1}",
                )
        if self.magic != MAGIC:
            raise SpecError(
                "not a descriptor",
                where="descriptor.magic",
                got=hex(self.magic),
                expected=hex(MAGIC),
            )
        for name in ("tokens", "outputs", "inputs", "group_size", *_COUNTS, "result_words"):
            if getattr(self, name) == 0:
                raise SpecError("is zero", where=f"descriptor.{name}", expected="1 or more")

    @classmethod
    def plan(
        cls,
        shape: Shape,
        *,
        format_index: int,
        int8_activations: bool,
        weight_address: int,
        activation_address: int,
        result_address: int,
        last: bool = True,
    ) -> Descriptor:
        """Derive every count from the shape."""
        for name, address, words in (
            ("weight_address", weight_address, shape.weight_words),
            ("activation_address", activation_address, shape.all_activation_words),
            ("result_address", result_address, shape.all_result_words),
        ):
            if address + words > 1 << 32:
                raise SpecError(
                    "the block ends beyond the 32-bit addresses of the port",
                    where=f"descriptor.{name}",
                    got=address,
                    expected=f"room for {words} words",
                )
        return cls(
            last=last,
            format_index=format_index,
            int8_activations=int8_activations,
            weight_address=weight_address,
            activation_address=activation_address,
            result_address=result_address,
            tokens=shape.tokens,
            outputs=shape.outputs,
            inputs=shape.inputs,
            group_size=shape.group_size,
            **{name: getattr(shape, name) for name in _COUNTS},
            result_words=shape.geometry.result_words,
        )


def encode(descriptors: Sequence[Descriptor], port_bytes: int) -> NDArray[np.uint8]:
    """Give the words of a program, uint8 [2 a descriptor, port bytes].

    >>> from plait.hwgen.bit_serial.layout import Geometry, Shape
    >>> machine = Geometry(rows=8, columns=4, lanes=4, port_bits=256)
    >>> shape = Shape(machine, tokens=4, outputs=8, inputs=64, group_size=64, code_bits=4)
    >>> one = Descriptor.plan(shape, format_index=1, int8_activations=False,
    ...                       weight_address=2, activation_address=20, result_address=36)
    >>> decode(encode([one], machine.port_bytes)) == [one]
    True
    """
    image = np.zeros((DESCRIPTOR_WORDS * len(descriptors), port_bytes), np.uint8)
    for index, descriptor in enumerate(descriptors):
        words = [0] * DESCRIPTOR_WORDS
        for name, field in FIELDS.items():
            words[field.word] |= int(getattr(descriptor, name)) << field.low
        for offset, word in enumerate(words):
            content = np.frombuffer(word.to_bytes(DESCRIPTOR_BITS // 8, "little"), np.uint8)
            image[DESCRIPTOR_WORDS * index + offset, : content.size] = content
    return image


def decode(image: NDArray[np.uint8]) -> list[Descriptor]:
    """Undo encode: read descriptors up to and including the one marked as the last."""
    found: list[Descriptor] = []
    bools = {field.name for field in fields(Descriptor) if field.type == "bool"}
    for start in range(0, len(image) - DESCRIPTOR_WORDS + 1, DESCRIPTOR_WORDS):
        words = [
            int.from_bytes(image[start + offset, : DESCRIPTOR_BITS // 8].tobytes(), "little")
            for offset in range(DESCRIPTOR_WORDS)
        ]
        values: dict[str, Any] = {
            name: words[field.word] >> field.low & (1 << field.bits) - 1
            for name, field in FIELDS.items()
        }
        values |= {name: bool(values[name]) for name in bools}
        _check_unused_bits(words, len(found))
        try:
            found.append(Descriptor(**values))
        except SpecError as error:
            raise SpecError(f"descriptor {len(found)}: {error}") from None
        if found[-1].last:
            return found
    raise SpecError(
        "the program ends without a descriptor marked as the last", where=f"descriptor {len(found)}"
    )


def disassemble(descriptors: Sequence[Descriptor]) -> str:
    """Say in text what a program does, a descriptor a paragraph."""
    lines = []
    for index, one in enumerate(descriptors):
        kind = "int8" if one.int8_activations else "fp16"
        lines.append(
            f"{index}: multiply [{one.tokens}, {one.inputs}] {kind} by format {one.format_index} "
            f"[{one.outputs}, {one.inputs}] in groups of {one.group_size}"
            + (", then stop" if one.last else "")
        )
        shown = {k: v for k, v in asdict(one).items() if k.endswith("_address")}
        lines.append("   " + ", ".join(f"{name} {value:#x}" for name, value in shown.items()))
        lines.append("   " + ", ".join(f"{name} {getattr(one, name)}" for name in _COUNTS))
    return "\n".join(lines)


def _check_unused_bits(words: Sequence[int], index: int) -> None:
    """Refuse bits that no field owns: they would be lost on the way back."""
    for number, word in enumerate(words):
        owned = sum(
            (1 << field.bits) - 1 << field.low for field in FIELDS.values() if field.word == number
        )
        if word & ~owned:
            raise SpecError(
                f"bits outside every field are set in word {number}",
                where=f"descriptor {index}",
                got=hex(word & ~owned),
            )
