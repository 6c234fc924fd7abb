"""The machine: values equal to the golden model's, cycles to the prediction's, cause by cause."""

import pytest
from harness import RTL, simulate, sources_of
from machine_cases import program_cases, save

from plait.errors import ToolError
from plait.hwgen.tools import run, verilator_command, verilator_environment, yosys_command
from plait.sim.families.bit_serial_schedule import Machine

pytestmark = pytest.mark.rtl

BUFFERS = {"WeightBufferSteps": 16, "ScaleBufferGroups": 4, "ActivationBufferSteps": 128}
SHAPES = [
    {"Rows": 1, "Columns": 1, "Lanes": 1, "ScaleBits": 8},
    {"Rows": 8, "Columns": 4, "Lanes": 4, "ScaleBits": 8, "AccumulatorBits": 24},
    {"Rows": 3, "Columns": 2, "Lanes": 5, "ScaleBits": 8, "PortBits": 320, "GuardBits": 5},
]
# A plane of weights needs two words, a group's header three: always short of memory.
SHORT_OF_MEMORY = {"Rows": 36, "Columns": 1, "Lanes": 8, "ScaleBits": 8}


@pytest.mark.parametrize(
    "shape",
    [*SHAPES, pytest.param(SHORT_OF_MEMORY, marks=pytest.mark.long)],
    ids=lambda s: f"{s['Rows']}x{s['Columns']}x{s['Lanes']}",
)
def test_core(shape, tmp_path):
    parameters = {"PortBits": 256, "AccumulatorBits": 15, "GuardBits": 3, **BUFFERS, **shape}
    machine = Machine(
        *(parameters[name] for name in ("Rows", "Columns", "Lanes", "ScaleBits", "PortBits")),
        parameters["WeightBufferSteps"],
        parameters["ScaleBufferGroups"],
    )
    arithmetic = {
        "accumulator_bits": parameters["AccumulatorBits"],
        "guard_bits": parameters["GuardBits"],
    }
    cases = save(program_cases(machine, arithmetic, count=12), tmp_path)
    simulate("plait_bs_core", "cocotb_bs_core", tmp_path, environment=cases, **parameters)


LINTED = [
    {},
    {"Rows": 1, "Columns": 1, "Lanes": 1},
    {"Rows": 64, "Columns": 1, "ActivationBufferSteps": 1},
    {"Rows": 3, "Columns": 2, "Lanes": 5, "PortBits": 288},
    {"Rows": 32, "Columns": 8, "PortBits": 512, "OutputAccumulatorBits": 48},
]


def lint(parameters: dict[str, int]) -> None:
    files = [str(RTL / "lint/waivers.vlt"), *map(str, sources_of("plait_bs_core"))]
    options = [f"-G{name}={value}" for name, value in parameters.items()]
    command = [verilator_command(), "--lint-only", "-Wall", f"-I{RTL / 'common'}"]
    run(
        [*command, *options, *files, "--top-module", "plait_bs_core"],
        environment=verilator_environment(),
    )


@pytest.mark.parametrize("parameters", LINTED, ids=str)
def test_verilator_has_no_warning(parameters):
    lint(parameters)


def test_yosys_takes_the_machine():
    sources = " ".join(str(path.relative_to(RTL)) for path in sources_of("plait_bs_core"))
    script = (
        f"read_verilog -sv -D SYNTHESIS -Icommon {sources}; hierarchy -check -top plait_bs_core"
    )
    run([*yosys_command(), "-q", "-p", f"{script}; proc; check -assert"], folder=RTL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("PortBits", 128), ("ScaleBits", 9), ("WeightBufferSteps", 7), ("ScaleBufferGroups", 3)),
        *(("Rows", 0), ("Columns", 0), ("Lanes", 0)),
    ],
)
def test_a_bad_parameter_stops_the_build(name, value):
    with pytest.raises(ToolError):
        lint({name: value})
