"""The decode units of a machine as Verilog: each a top of its own, with a testbench beside it.

The units are not wired into a family's core yet: they are generated with the machine's parameters
as defaults, and ``make check-decode`` in the folder runs each of them on an example, values and
cycles, with Verilator alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.design import render
from plait.hwgen.verilog import LIBRARY, compile_order, parameter_names
from plait.models.formats import pack_codes
from plait.models.golden import decode_units as golden
from plait.sim.families import decode_cycles as laws
from plait.sim.spec.base import Accelerator

__all__ = ["Units", "decode_units", "unit_parameters"]

_FILE_LIST = LIBRARY / "decode.f"
_SOURCES_FILE = "decode/sources.f"
_MOST_TABLE_ENTRIES = 256  # it lies in registers, and every lane has its own multiplexer
_KIBIBYTE_BITS = 8 * 1024
_EXAMPLE_ENTRIES = 4096  # of a codebook, the first ones; more would only make the files long

Section = Any  # a section of plait.sim.spec.decode_units
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Units:
    """What a machine's decode units add to its folder.

    Args:
        parameters: of each unit, by kind, by their Verilog names.
        files: text by path, relative to the folder.
        sources: paths to compile, in order.
    """

    parameters: Mapping[str, Mapping[str, int]]
    files: Mapping[str, str]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stream:
    """An input of a unit: beats as values of its ports (name, bits)."""

    name: str
    ports: Sequence[tuple[str, int]]
    beats: Sequence[Sequence[int]]

    @property
    def width(self) -> int:
        return sum(bits for _, bits in self.ports)

    @property
    def words(self) -> list[str]:
        """Hexadecimal, the first port lowest."""
        return [_joined(beat, [bits for _, bits in self.ports]) for beat in self.beats]


@dataclass(frozen=True, slots=True)
class _Example:
    """What a testbench plays: writes first, then all streams at once."""

    streams: Sequence[_Stream]
    out_bits: int
    expected: Sequence[int]
    cycles: int
    """From the first beat to the last result, nothing stalling."""
    writes: Sequence[int] = field(default=())
    address_bits: int = 0
    word_bits: int = 0


def decode_units(machine: Accelerator, only: Sequence[str] | None = None) -> Units:
    """Put the decode units of a machine together; nothing if it describes none.

    Args:
        only: the kinds wanted; all that the machine describes unless given.
    """
    described = {
        kind: section
        for kind in type(machine.decode_units).model_fields
        if (section := getattr(machine.decode_units, kind)) is not None
    }
    for kind in only or ():
        if kind not in described:
            raise SpecError(
                "the machine describes no such decode unit",
                where=f"{machine.name}: decode_units",
                got=kind,
                expected=", ".join(described) or "a machine with decode units",
            )
    if only is not None:
        described = {kind: described[kind] for kind in dict.fromkeys(only)}
    if not described:
        return Units({}, {}, ())
    parameters: dict[str, dict[str, int]] = {}
    files: dict[str, str] = {}
    tops: list[str] = []
    for kind, section in described.items():
        where = f"{machine.name}: decode_units.{kind}"
        parameters[kind] = unit_parameters(kind, section, where)
        example = _KINDS[kind].example(parameters[kind])
        files |= _testbench(kind, example)
        tops.append(_KINDS[kind].module)
    sources = _needed(tops)
    units = {_KINDS[kind].module: values for kind, values in parameters.items()}
    for name in sources:
        text = (LIBRARY / name).read_text()
        module = name.rpartition("/")[2].removesuffix(".sv")
        files[f"rtl/{name}"] = _with_defaults(text, units.get(module, {}))
    header = "common/plait_assert.svh"
    files[f"rtl/{header}"] = (LIBRARY / header).read_text()
    paths = tuple(f"rtl/{name}" for name in sources)
    files[_SOURCES_FILE] = "".join(f"{line}\n" for line in ("+incdir+rtl/common", *paths))
    return Units(parameters, files, paths)


def unit_parameters(kind: str, section: Section, where: str) -> dict[str, int]:
    """Give every parameter of a unit's Verilog its value, in the order of the Verilog.

    Args:
        kind: a name of plait.sim.spec.decode_units.DecodeUnits.
        section: the unit's description.
        where: for the message of a refusal.
    """
    if kind not in _KINDS:
        raise SpecError(
            "there is no Verilog of this decode unit",
            where=where,
            expected=f"no such section, or {', '.join(_KINDS)}",
        )
    unit = _KINDS[kind]
    values = unit.values(section)
    names = parameter_names((LIBRARY / f"decode/{unit.module}.sv").read_text())
    unknown = [name for name in names if name not in values]
    if unknown:
        raise SpecError(f"the schema has no field for the Verilog's parameter {unknown[0]}")
    if kind == "lookup_table" and values["Entries"] > _MOST_TABLE_ENTRIES:
        raise SpecError(
            "a table of registers would be too large",
            where=f"{where}.entries",
            got=values["Entries"],
            expected=f"at most {_MOST_TABLE_ENTRIES}, or a codebook",
        )
    if kind == "codebook" and values["Entries"] < max(2, values["Banks"]):
        raise SpecError(
            "the memory holds fewer vectors than banks",
            where=f"{where}.kibibytes",
            got=section.kibibytes,
            expected=f"room for {max(2, values['Banks'])} vectors",
        )
    return {name: values[name] for name in names}


# ---- Parameters and an example of each kind -----------------------------------------------------


def _lookup_table_values(unit: Section) -> dict[str, int]:
    return {
        "Entries": unit.entries,
        "ValueBits": unit.value_bits,
        "WeightsPerCycle": unit.weights_per_cycle,
    }


def _codebook_values(unit: Section) -> dict[str, int]:
    vector_bits = unit.vector_length * unit.value_bits
    return {
        "Entries": unit.kibibytes * _KIBIBYTE_BITS // vector_bits,
        "VectorLength": unit.vector_length,
        "ValueBits": unit.value_bits,
        "Banks": unit.banks,
        "LookupsPerCycle": unit.lookups_per_cycle,
    }


def _expander_values(unit: Section) -> dict[str, int]:
    return {"WeightsPerCycle": unit.weights_per_cycle}


def _trit_tree_values(unit: Section) -> dict[str, int]:
    return {
        "Trees": unit.trees,
        "Inputs": unit.inputs,
        "AccumulatorBits": unit.accumulator_bits,
    }


def _lookup_table_example(values: Mapping[str, int]) -> _Example:
    rng = np.random.default_rng(0)
    entries, width, bits = values["Entries"], values["WeightsPerCycle"], values["ValueBits"]
    index_bits = max(1, (entries - 1).bit_length())
    table = [int(value) for value in rng.integers(0, 1 << bits, entries)]
    indices = golden.beats(rng.integers(0, entries, (4, 2 * width + 1)), width)
    lanes = indices.reshape(-1, width).tolist()
    return _Example(
        streams=[_Stream("in", [("data", width * index_bits)], _packed(lanes, index_bits))],
        out_bits=width * bits,
        expected=[_word([table[index] for index in beat], bits) for beat in lanes],
        cycles=laws.lookup_table_cycles(4, 2 * width + 1, width, 0),
        writes=table,
        address_bits=index_bits,
        word_bits=bits,
    )


def _codebook_example(values: Mapping[str, int]) -> _Example:
    rng = np.random.default_rng(0)
    entries, lookups, bits = values["Entries"], values["LookupsPerCycle"], values["ValueBits"]
    index_bits, used = (entries - 1).bit_length(), min(entries, _EXAMPLE_ENTRIES)
    parts = rng.integers(0, 1 << bits, (used, values["VectorLength"])).tolist()
    book = [_word(vector, bits) for vector in parts]
    vector_bits = bits * values["VectorLength"]
    indices = golden.beats(rng.integers(0, used, (8, 2 * lookups + 1)), lookups, fill=-1)
    lanes = indices.reshape(-1, lookups)
    offered = [
        (_word(beat.clip(0).tolist(), index_bits), _word((beat >= 0).tolist(), 1)) for beat in lanes
    ]
    return _Example(
        streams=[_Stream("in", [("data", lookups * index_bits), ("keep", lookups)], offered)],
        out_bits=lookups * vector_bits,
        expected=[
            _word([book[index] if index >= 0 else 0 for index in beat], vector_bits)
            for beat in lanes.tolist()
        ],
        cycles=int(golden.conflict_cycles(lanes, values["Banks"]).sum()) + laws.CODEBOOK_LATENCY,
        writes=book,
        address_bits=index_bits,
        word_bits=vector_bits,
    )


def _expander_example(values: Mapping[str, int]) -> _Example:
    rng = np.random.default_rng(0)
    width = values["WeightsPerCycle"]
    shape, groups = (4, 4 * width), (4, 2)  # two beats a group
    zeros, scales = rng.integers(0, 16, groups), rng.integers(1, 9, groups)  # 15 * 8 fits INT8
    codes = rng.integers(0, 16, shape)
    stored = pack_codes(codes.astype(np.uint8), 4)
    weights = golden.expanded_weights(stored, zeros.astype(np.int8), scales.astype(np.uint8), shape)
    lanes = golden.beats(codes, width).reshape(-1, width).tolist()
    beats = [(_word(beat, 4), number % 2) for number, beat in enumerate(lanes)]
    pairs = np.stack([zeros, scales], axis=-1).reshape(-1, 2).tolist()
    return _Example(
        streams=[
            _Stream("code", [("data", 4 * width), ("last", 1)], beats),
            _Stream("group", [("data", 16)], _packed(pairs, 8)),
        ],
        out_bits=8 * width,
        expected=[_word(beat, 8) for beat in weights.reshape(-1, width).tolist()],
        cycles=laws.expander_cycles(*shape, width),
    )


def _trit_tree_example(values: Mapping[str, int]) -> _Example:
    rng = np.random.default_rng(0)
    trees, width, bits = values["Trees"], values["Inputs"], values["AccumulatorBits"]
    shape = (6 * trees, min(2 * width + 1, 1 << bits - 8))
    codes = rng.choice(np.array([0, 1, 3], np.uint8), shape)
    activations = rng.integers(-127, 128, (1, shape[1]))
    sums = golden.trit_sums(pack_codes(codes, 2), shape, activations, bits)
    inputs = golden.beats(activations, width)[0]
    trits = golden.beats(codes, width).reshape(6, trees, -1, width).transpose(0, 2, 1, 3)
    beats = [
        (
            _word(lanes.reshape(-1).tolist(), 2),
            _word(inputs[step].tolist(), 8),
            int(step == len(inputs) - 1),
        )
        for outputs in trits
        for step, lanes in enumerate(outputs)
    ]
    ports = [("trits", 2 * trees * width), ("activations", 8 * width), ("last", 1)]
    return _Example(
        streams=[_Stream("in", ports, beats)],
        out_bits=trees * bits,
        expected=[_word(group, bits) for group in sums.reshape(-1, trees).tolist()],
        cycles=laws.trit_tree_cycles(6, shape[1], width),
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    module: str
    values: Callable[[Section], dict[str, int]]
    example: Callable[[Mapping[str, int]], _Example]


_KINDS = {
    "lookup_table": _Kind("plait_du_lookup_table", _lookup_table_values, _lookup_table_example),
    "codebook": _Kind("plait_du_codebook", _codebook_values, _codebook_example),
    "expander": _Kind("plait_du_expander", _expander_values, _expander_example),
    "trit_tree": _Kind("plait_du_trit_tree", _trit_tree_values, _trit_tree_example),
}


# ---- Files --------------------------------------------------------------------------------------


def _testbench(kind: str, example: _Example) -> dict[str, str]:
    """The testbench of a unit and its memory files."""
    text = render(
        "decode_testbench.sv.j2",
        kind=kind,
        module=_KINDS[kind].module,
        example=example,
        streams=example.streams,
    )
    lists = {f"decode/{kind}_{part.name}.mem": part.words for part in example.streams}
    lists[f"decode/{kind}_expected.mem"] = [
        _hex(word, example.out_bits) for word in example.expected
    ]
    if example.writes:
        lists[f"decode/{kind}_table.mem"] = [
            _hex(word, example.word_bits) for word in example.writes
        ]
    files = {path: "".join(f"{word}\n" for word in words) for path, words in lists.items()}
    return {f"decode/{kind}_tb.sv": text, **files}


def _needed(tops: Sequence[str]) -> list[str]:
    """Files of the tops and of what they instantiate, in compile order."""
    order = compile_order(_FILE_LIST)
    texts = {name: (LIBRARY / name).read_text() for name in order}
    modules = {name.rpartition("/")[2].removesuffix(".sv"): name for name in order}
    wanted, left = set(), list(tops)
    while left:
        name = modules[left.pop()]
        if name not in wanted:
            wanted.add(name)
            left += [m for m in modules if re.search(rf"^\s*{m} #\(", texts[name], re.MULTILINE)]
    return [name for name in order if name in wanted]


def _with_defaults(text: str, parameters: Mapping[str, int]) -> str:
    """A module whose parameters have other defaults."""
    for name, value in parameters.items():
        text = re.sub(rf"(parameter int unsigned {name} = )\d+", rf"\g<1>{value}", text)
    return text


def _packed(rows: Sequence[Sequence[int]], bits: int) -> list[tuple[int]]:
    return [(_word(row, bits),) for row in rows]


def _word(values: Sequence[int], bits: int) -> int:
    """Numbers of ``bits`` bits as one, the first lowest; negatives in two's complement."""
    mask, word = (1 << bits) - 1, 0
    for place, value in enumerate(values):
        word |= (int(value) & mask) << (place * bits)
    return word


def _joined(values: Sequence[int], widths: Sequence[int]) -> str:
    word, at = 0, 0
    for value, bits in zip(values, widths, strict=True):
        word |= int(value) << at
        at += bits
    return _hex(word, at)


def _hex(word: int, bits: int) -> str:
    return f"{word:0{-(-bits // 4)}x}"
