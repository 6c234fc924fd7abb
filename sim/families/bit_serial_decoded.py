"""Multiplications of bit-serial machines whose weights pass a decode unit.

The core that `bit_serial_cycles` counts takes codes only. Where a unit stands before it, or trit
trees do the sums, an operation takes the longer of array and port, tile by tile, without the
core's own overheads of descriptors, headers and drains: no Verilog of the two together exists.
Weights move with all the bits that are stored, and again for every tile of tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plait.sim.families.bit_serial_cycles import MatmulCycles
from plait.sim.families.bit_serial_design import Design
from plait.sim.families.bit_serial_tiles import STORED_ACTIVATION_BITS
from plait.sim.families.decode_units import FP16, INT8, Decoding, decoding
from plait.sim.families.matmuls import Matmuls

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.bit_serial import BitSerial

__all__ = ["decoded_matmuls", "decoding_of"]

_TAKES = {"fp16": (FP16, INT8), "bit_serial": (INT8,)}


def decoding_of(workload: Workload, machine: BitSerial) -> Decoding:
    """Cost the decode units of a step; FP16 values need PEs of kind fp16."""
    array = machine.array.at(workload.phase)  # type: ignore[arg-type]
    passes = np.ceil(workload.columns["tokens"] / array.columns)
    return decoding(workload, machine, _TAKES.get(machine.pe.kind, ()), passes)


def decoded_matmuls(
    cycles: MatmulCycles, matmuls: Matmuls, design: Design, machine: BitSerial, decoded: Decoding
) -> MatmulCycles:
    """Exchange the counts of the multiplications that units or trees work for.

    Args:
        cycles: of all multiplications, [matmuls, 1].
        design: of one machine.
    """
    here = (decoded.unit[matmuls.row] != "") & matmuls.is_linear
    trees = decoded.on_trees[matmuls.row] & matmuls.is_linear
    rows, columns, lanes = (int(getattr(design, n)[0]) for n in ("rows", "columns", "lanes"))
    terms = matmuls.terms if design.is_serial else np.ones_like(matmuls.terms)
    steps = -(-matmuls.inputs // lanes)
    tiles = -(-matmuls.tokens // columns)
    busy = terms * steps * -(-matmuls.outputs // rows) * tiles * matmuls.batch
    products = matmuls.outputs * matmuls.inputs * matmuls.tokens * matmuls.batch
    ideal = -(-products * terms // (rows * columns * lanes))
    unit = machine.decode_units.trit_tree
    if unit is not None:
        streamed = np.ceil(decoded.streamed_cycles[matmuls.row]).astype(np.int64)
        busy = np.where(trees, streamed, busy)
        ideal = np.where(trees, -(-products // (unit.trees * unit.inputs)), ideal)
    weight_bits, activation_bits = _moved_bits(matmuls, design, tiles, trees)
    port = int(design.port_bits[0])
    memory = -(-(weight_bits + activation_bits) // port)
    write_port = int(design.write_port_bits[0])
    zero = np.zeros_like(busy)
    exchanged = MatmulCycles(
        ideal=ideal,
        edge_waste=busy - ideal,
        descriptor=zero,
        activation_load=zero,
        pipeline_fill=zero,
        dequantisation=zero,
        memory_stall=np.maximum(memory - busy, 0),
        drain=zero,
        busy_cycles=busy,
        memory_cycles=memory,
        steps=busy // terms,
        weight_writes=-(-weight_bits // write_port),
        activation_writes=-(-activation_bits // write_port),
        weight_bits_moved=weight_bits,
        activation_bits_moved=activation_bits,
    )
    return MatmulCycles(
        *(
            np.where(here[:, None], mine[:, None], core)
            for mine, core in zip(exchanged, cycles, strict=True)
        )
    )


def _moved_bits(
    matmuls: Matmuls, design: Design, tiles: NDArray[np.int64], trees: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stored weights once a tile of tokens; trees keep weights while the buffered tokens pass."""
    inputs_bytes = matmuls.tokens * matmuls.inputs * STORED_ACTIVATION_BITS // 8
    held = -(-inputs_bytes // design.activation_buffer_bytes[0])
    times = np.where(trees, held, tiles)
    stored = np.ceil(matmuls.weight_bits * matmuls.inputs * matmuls.outputs * matmuls.batch)
    values = matmuls.tokens * (matmuls.inputs + matmuls.outputs) * matmuls.batch
    return times * stored.astype(np.int64), values * STORED_ACTIVATION_BITS
