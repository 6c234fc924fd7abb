"""What Python and Verilog both state about the machine is stated alike."""

from __future__ import annotations

import re

import pytest
from harness import RTL

from plait.hwgen.bit_serial import layout
from plait.hwgen.bit_serial.parameters import core_parameters
from plait.hwgen.verilog import enum_names
from plait.models.golden import bit_serial as golden
from plait.sim.families import bit_serial_cycles as cycles
from plait.sim.families import bit_serial_schedule as recurrence
from plait.sim.families import bit_serial_tiles as tiles
from plait.sim.families import memory_port
from plait.sim.spec import load_accelerator


def text(module: str) -> str:
    return (RTL / f"bit_serial/plait_bs_{module}.sv").read_text()


def number(module: str, name: str) -> int:
    (value,) = re.findall(rf"\b{name} = (\d+)\b", text(module))
    return int(value)


def test_causes_have_the_counters_names() -> None:
    names = enum_names(text("machine_pkg"), "cause_e", "Cause")
    assert tuple(names) == recurrence.CAUSES
    assert number("machine_pkg", "NUM_COUNTERS") == len(recurrence.CAUSES)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("reader", "BurstWords", memory_port.BURST_WORDS),
        ("reader", "WordsInFlight", memory_port.WORDS_IN_FLIGHT),
        ("weight_buffer", "ChannelTiles", recurrence.CHANNEL_BUFFER_TILES),
        ("weight_buffer", "HeaderBits", tiles.HEADER_BITS),
        ("machine_pkg", "DESCRIPTOR_WORDS", recurrence.DESCRIPTOR_WORDS),
        ("machine_pkg", "DESCRIPTOR_BITS", layout.DESCRIPTOR_BITS),
        ("machine_pkg", "MAX_INPUTS", golden.MAX_INPUTS),
        ("machine_pkg", "MAX_INPUTS", cycles.MAX_INPUTS),
        ("machine_pkg", "MAX_INPUTS", layout.MOST_INPUTS),
    ],
)
def test_constants(module: str, name: str, value: int) -> None:
    assert number(module, name) == value


def test_the_latency_of_the_array() -> None:
    assert f"ScaleBits + {recurrence.ARRAY_STAGES} cycles" in text("array")


@pytest.mark.parametrize("name", ["bitmod-small", "bitmod-64x1", "bitmod-lossy"])
def test_the_activation_buffer_is_as_deep(name: str) -> None:
    machine = load_accelerator(name)
    parameters = core_parameters(machine, "decode")
    most = parameters["ActivationBufferSteps"] * parameters["Lanes"]

    def descriptor_cycles(inputs: int) -> int:
        return cycles.matmul_cycles(
            rows=parameters["Rows"],
            columns=parameters["Columns"],
            lanes=parameters["Lanes"],
            terms=2,
            port_bits=parameters["PortBits"],
            weight_buffer_bytes=machine.buffers.weight_bytes,
            activation_buffer_bytes=machine.buffers.activation_bytes,
            scale_buffer_bytes=machine.buffers.scale_bytes,
            write_port_bits=machine.buffers.write_port_bits,
            scale_bits=parameters["ScaleBits"],
            inputs=inputs,
            outputs=1,
            tokens=1,
            batch=1,
            weight_bits=4,
            code_bits=4,
            group_size=128,
            activation_bits=16,
            own_weights=False,
        ).descriptor

    one = descriptor_cycles(1)
    assert descriptor_cycles(min(most, cycles.MAX_INPUTS)) == one
    assert descriptor_cycles(min(most, cycles.MAX_INPUTS) + 1) == 2 * one
