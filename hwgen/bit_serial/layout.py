"""How a matrix multiplication lies in the memory of the bit-serial machine, in words of its port.

A word is one transfer of the memory port, PortBits wide; its bit 0 is the lowest bit of its first
byte. Everything is padded to whole tiles, so that ragged edges need no masks:

- weights, one stream per output tile (Rows outputs), tiles one after the other:
  channel words (Rows FP16 steps), then for each group its header words (Rows x 16 bit, selector in
  bits 9:8, scale in 7:0) and the words of its steps. A step is Lanes inputs of Rows outputs, stored
  as bit planes: plane b holds bit b of code r*Lanes + l at bit r*Lanes + l.
- activations, one stream per token tile (Columns tokens): per step Columns*Lanes values of 16 bit,
  value c*Lanes + l; a power of two of steps shares a word where they fit.
- results, one block per (token tile, output tile): Rows*Columns FP32, value c*Rows + r.
"""

from __future__ import annotations

from dataclasses import dataclass

from plait.errors import SpecError

__all__ = ["DESCRIPTOR_BITS", "Geometry", "Shape"]

DESCRIPTOR_BITS = 256
MOST_INPUTS = 1 << 16  # of one multiplication: bound of the PE's integer accumulators
CHANNEL_BITS = 16
HEADER_BITS = 16
ACTIVATION_BITS = 16
RESULT_BITS = 32


@dataclass(frozen=True, slots=True)
class Geometry:
    """The parameters of a machine that decide where things lie, and what fits.

    Args:
        rows, columns, lanes: the array and the dot product of its PEs.
        port_bits: of a word.
        activation_steps: depth of the activation buffer, in steps of `lanes` inputs.

    >>> Geometry(rows=8, columns=4, lanes=4, port_bits=256).step_words(code_bits=4)
    1
    >>> Geometry(rows=64, columns=1, lanes=4, port_bits=256).step_words(code_bits=4)
    4
    """

    rows: int
    columns: int
    lanes: int
    port_bits: int
    activation_steps: int = MOST_INPUTS

    def __post_init__(self) -> None:
        if self.port_bits < DESCRIPTOR_BITS or self.port_bits % 64:
            raise SpecError(
                "a memory port of this width cannot carry a descriptor",
                where="dram.port_bits_per_cycle",
                got=self.port_bits,
                expected=f"a multiple of 64, at least {DESCRIPTOR_BITS}",
            )

    @property
    def port_bytes(self) -> int:
        """Bytes of a word."""
        return self.port_bits // 8

    @property
    def planes_per_word(self) -> int:
        """Bit planes of a step that share a word; 0 if a plane needs several words."""
        return self.port_bits // (self.rows * self.lanes)

    @property
    def plane_words(self) -> int:
        """Words of one bit plane that shares no word."""
        return -(-self.rows * self.lanes // self.port_bits)

    def step_words(self, code_bits: int) -> int:
        """Words of the codes of one step."""
        if self.planes_per_word:
            return -(-code_bits // self.planes_per_word)
        return code_bits * self.plane_words

    @property
    def channel_words(self) -> int:
        """Words of the channel steps of an output tile."""
        return -(-self.rows * CHANNEL_BITS // self.port_bits)

    @property
    def header_words(self) -> int:
        """Words of the scales and selectors of one group of an output tile."""
        return -(-self.rows * HEADER_BITS // self.port_bits)

    @property
    def activation_steps_per_word(self) -> int:
        """Steps of activations that share a word (a power of two); 0 if a step needs several."""
        fitting = self.port_bits // (self.columns * self.lanes * ACTIVATION_BITS)
        return 1 << (fitting.bit_length() - 1) if fitting else 0

    def activation_words(self, steps: int) -> int:
        """Words of the activations of one token tile."""
        if self.activation_steps_per_word:
            return -(-steps // self.activation_steps_per_word)
        return steps * -(-self.columns * self.lanes * ACTIVATION_BITS // self.port_bits)

    @property
    def result_words(self) -> int:
        """Words of the results of one tile."""
        return -(-self.rows * self.columns * RESULT_BITS // self.port_bits)


@dataclass(frozen=True, slots=True)
class Shape:
    """A matrix multiplication cut into tiles, groups and steps.

    Args:
        tokens: rows of the activations.
        outputs: output channels of the weights.
        inputs: input channels.
        group_size: inputs that share a scale; a multiple of the lanes.

    >>> machine = Geometry(rows=8, columns=4, lanes=4, port_bits=256)
    >>> shape = Shape(machine, tokens=5, outputs=20, inputs=150, group_size=64, code_bits=4)
    >>> shape.token_tiles, shape.output_tiles, shape.groups, shape.last_group_steps
    (2, 3, 3, 6)
    """

    geometry: Geometry
    tokens: int
    outputs: int
    inputs: int
    group_size: int
    code_bits: int

    def __post_init__(self) -> None:
        for name in ("tokens", "outputs", "inputs", "group_size"):
            value = getattr(self, name)
            if not 1 <= value < 1 << 32:
                raise SpecError(
                    "does not fit the descriptor",
                    where=name,
                    got=value,
                    expected="1 to 4294967295",
                )
        if self.inputs > MOST_INPUTS:
            raise SpecError(
                "the integer accumulators are exact only up to a limit",
                where="inputs",
                got=self.inputs,
                expected=f"at most {MOST_INPUTS}",
            )
        if self.steps > self.geometry.activation_steps:
            raise SpecError(
                "the activation buffer does not hold a token's inputs",
                where="inputs",
                got=self.inputs,
                expected=f"at most {self.geometry.activation_steps * self.geometry.lanes}",
            )
        if self.group_size % self.geometry.lanes:
            raise SpecError(
                "a group must be whole steps of the PE",
                where="group_size",
                got=self.group_size,
                expected=f"a multiple of the machine's {self.geometry.lanes} lanes",
            )

    @property
    def token_tiles(self) -> int:
        """Tiles along the tokens."""
        return -(-self.tokens // self.geometry.columns)

    @property
    def output_tiles(self) -> int:
        """Tiles along the output channels."""
        return -(-self.outputs // self.geometry.rows)

    @property
    def groups(self) -> int:
        """Groups along the inputs, the last one maybe short."""
        return -(-self.inputs // self.group_size)

    @property
    def steps_per_group(self) -> int:
        """Steps of a full group; of the only group where there is one."""
        return min(self.group_size, self._padded_inputs) // self.geometry.lanes

    @property
    def last_group_steps(self) -> int:
        """Steps of the last group."""
        return self.steps - (self.groups - 1) * self.steps_per_group

    @property
    def steps(self) -> int:
        """Steps along all inputs."""
        return self._padded_inputs // self.geometry.lanes

    @property
    def group_words(self) -> int:
        """Words of a full group of an output tile: its header and its steps."""
        return self.geometry.header_words + self.steps_per_group * self.step_words

    @property
    def step_words(self) -> int:
        """Words of the codes of a step."""
        return self.geometry.step_words(self.code_bits)

    @property
    def tile_words(self) -> int:
        """Words of the weights of an output tile, scales included."""
        machine = self.geometry
        return (
            machine.channel_words
            + self.groups * machine.header_words
            + self.steps * self.step_words
        )

    @property
    def weight_words(self) -> int:
        """Words of the whole weight matrix."""
        return self.output_tiles * self.tile_words

    @property
    def activation_words(self) -> int:
        """Words of the activations of a token tile."""
        return self.geometry.activation_words(self.steps)

    @property
    def all_activation_words(self) -> int:
        """Words of the activations of all token tiles."""
        return self.token_tiles * self.activation_words

    @property
    def all_result_words(self) -> int:
        """Words of the results of all tiles."""
        return self.token_tiles * self.output_tiles * self.geometry.result_words

    @property
    def _padded_inputs(self) -> int:
        return -(-self.inputs // self.geometry.lanes) * self.geometry.lanes
