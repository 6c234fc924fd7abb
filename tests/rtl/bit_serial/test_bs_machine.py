"""The modules around the array, each alone. Parameters: smallest legal, default, odd."""

import pytest
from harness import simulate
from machine_cases import activation_cases, output_cases, save, weight_cases

from plait.hwgen.bit_serial.layout import Geometry

pytestmark = pytest.mark.rtl
LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("port_bits", "burst", "flight"),
    [(256, 1, 3), (288, 5, 33), pytest.param(256, 64, 256, marks=LONG)],
)
def test_reader(port_bits, burst, flight, tmp_path):
    parameters = {"PortBits": port_bits, "BurstWords": burst, "WordsInFlight": flight}
    simulate("plait_bs_reader", "cocotb_bs_reader", tmp_path, **parameters)


@pytest.mark.parametrize("port_bits", [32, 288, pytest.param(256, marks=LONG)])
def test_writer(port_bits, tmp_path):
    simulate("plait_bs_writer", "cocotb_bs_writer", tmp_path, PortBits=port_bits)


@pytest.mark.parametrize(
    ("banks", "width", "depth"), [(1, 1, 2), (5, 33, 3), pytest.param(8, 32, 16, marks=LONG)]
)
def test_banked_fifo(banks, width, depth, tmp_path):
    parameters = {"Banks": banks, "BankWidth": width, "Depth": depth}
    simulate("plait_bs_banked_fifo", "cocotb_bs_banked_fifo", tmp_path, **parameters)


@pytest.mark.parametrize(("codes", "code_bits"), [(1, 1), (32, 8), (15, 5)])
def test_transpose(codes, code_bits, tmp_path):
    parameters = {"Codes": codes, "CodeBits": code_bits}
    simulate("plait_bs_transpose", "cocotb_bs_transpose", tmp_path, seeds=(1,), **parameters)


@pytest.mark.parametrize(
    ("rows", "lanes", "port_bits", "steps", "groups"),
    [
        (1, 1, 256, 8, 4),
        (8, 4, 256, 64, 16),
        (3, 5, 320, 9, 5),
        pytest.param(70, 4, 256, 18, 4, marks=LONG),
    ],
)
def test_weight_buffer(rows, lanes, port_bits, steps, groups, tmp_path):
    parameters = {
        "Rows": rows, "Lanes": lanes, "PortBits": port_bits,
        "WeightBufferSteps": steps, "ScaleBufferGroups": groups,
    }  # fmt: skip
    cases = save(weight_cases(Geometry(rows, 1, lanes, port_bits), steps, 8), tmp_path)
    simulate(
        "plait_bs_weight_buffer", "cocotb_bs_weight_buffer", tmp_path,
        environment=cases, **parameters,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "lanes", "port_bits", "steps"),
    [(1, 1, 256, 1), (4, 4, 256, 64), (2, 5, 320, 7), pytest.param(3, 7, 256, 9, marks=LONG)],
)
def test_activation_buffer(columns, lanes, port_bits, steps, tmp_path):
    parameters = {
        "Columns": columns, "Lanes": lanes, "PortBits": port_bits,
        "ActivationBufferSteps": steps,
    }  # fmt: skip
    cases = save(activation_cases(Geometry(1, columns, lanes, port_bits), steps), tmp_path)
    simulate(
        "plait_bs_activation_buffer", "cocotb_bs_activation_buffer", tmp_path,
        environment=cases, **parameters,
    )  # fmt: skip


@pytest.mark.parametrize("scale_bits", [1, 5, pytest.param(8, marks=LONG)])
def test_issue(scale_bits, tmp_path):
    simulate("plait_bs_issue", "cocotb_bs_issue", tmp_path, ScaleBits=scale_bits)


@pytest.mark.parametrize(
    ("rows", "columns", "mantissa_bits", "port_bits"),
    [(1, 1, 33, 256), (8, 4, 40, 256), (3, 5, 41, 320)],
)
def test_output(rows, columns, mantissa_bits, port_bits, tmp_path):
    parameters = {
        "Rows": rows, "Columns": columns, "MantissaBits": mantissa_bits, "PortBits": port_bits,
    }  # fmt: skip
    cases = save(output_cases(Geometry(rows, columns, 1, port_bits), mantissa_bits, 3), tmp_path)
    simulate("plait_bs_output", "cocotb_bs_output", tmp_path, environment=cases, **parameters)
