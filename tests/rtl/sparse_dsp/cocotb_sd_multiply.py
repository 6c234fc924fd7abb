"""plait_sd_multiply: MV and MM over sparse and dense weights of every width, K split, cycles."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge
from harness import packed, parameter, start

from plait.hwgen.sparse_dsp.operands import channel_image, read_vector, vector_image
from plait.hwgen.sparse_dsp.program import encode
from plait.hwgen.sparse_dsp.weights import SparseMatrix, group_image
from plait.models.golden.sparse_dsp_output import Channels, linear
from plait.sim.compiler.cycles import multiply_cycles
from plait.sim.compiler.instruction import Instruction, Program, Queue
from plait.sim.compiler.kept import KEPT, WEIGHT_BITS

ROWS, WORD = parameter("Rows", 4), 256


def word(values: np.ndarray) -> int:
    return int.from_bytes(values.tobytes(), "little")


class Buffers:
    """What LD would have filled."""

    def __init__(self) -> None:
        self.a: dict[int, int] = {}  # MV
        self.banks: list[dict[int, int]] = [{} for _ in range(ROWS)]  # MM
        self.b: dict[int, int] = {}
        self.meta: dict[int, int] = {}
        self.bias: dict[int, int] = {}
        self.kept: dict[int, int] = {}
        self.written: dict[int, int] = {}

    async def answer(self, dut) -> None:
        while True:
            await ReadOnly()
            answers = {}
            # At once: the marks depend only on registers, so this settles before the edge.
            if dut.read_enable_o.value:
                a, b, meta = (
                    getattr(dut, f"{name}_address_o").value.to_unsigned()
                    for name in ("a", "b", "meta")
                )
                answers["weights_a_i"] = self.a.get(a, 0)
                answers["rows_a_i"] = packed([bank.get(a, 0) for bank in self.banks], WORD)
                answers["b_i"] = self.b.get(b, 0)
                answers["meta_i"] = self.meta.get(meta, 0)
            if dut.bias_enable_o.value:
                answers["bias_i"] = self.bias.get(dut.bias_address_o.value.to_unsigned(), 0)
            if dut.write_enable_o.value:
                at = dut.write_address_o.value.to_unsigned()
                self.written[at] = dut.write_data_o.value.to_unsigned()
            await RisingEdge(dut.clk_i)
            for name, value in answers.items():
                getattr(dut, name).value = value

    async def marks(self, dut) -> None:
        """The buffer of kept counts answers in the same cycle."""
        while True:
            at = dut.fsb_address_o.value
            dut.fsb_data_i.value = self.kept.get(at.to_unsigned(), 0) if at.is_resolvable else 0
            await dut.fsb_address_o.value_change


def draw(rng: np.random.Generator, k_blocks: int, bits: int, kind: str) -> SparseMatrix:
    limit = 1 << (bits - 1)
    shape = (16, 16 * k_blocks)
    codes = rng.integers(-limit, limit, shape)
    if kind == "extreme":
        codes[:] = -limit
    if kind in ("dense", "extreme"):
        return SparseMatrix(codes.astype(np.int8), None, bits)
    mask = np.zeros(shape, bool)
    for block in range(k_blocks):
        kept = rng.choice(KEPT) if kind == "mixed" else int(kind)
        for row in range(16):
            chosen = rng.permutation(16)[:kept]
            if kept == 2 and row % 2:
                chosen = np.array([0, 15])
            mask[row, 16 * block + chosen] = True
    return SparseMatrix(np.where(mask, codes, 0).astype(np.int8), mask, bits)


async def run(dut, one: Instruction) -> int:
    """Start an instruction; give its cycles."""
    dut.multiply_i.value = packed(encode(Program.of([one])).tolist(), 32)
    dut.is_mm_i.value = one.queue == Queue.MM
    dut.start_i.value = 1
    cycles = 0
    while True:
        await ReadOnly()
        cycles += 1
        done = bool(dut.done_o.value)
        if done:
            assert dut.is_mm_o.value == (one.queue == Queue.MM)
        await RisingEdge(dut.clk_i)
        dut.start_i.value = 0
        if done:
            return cycles
        assert cycles < 2000, "hangs"


async def begin(dut) -> Buffers:
    dut.start_i.value = 0
    dut.fsb_data_i.value = 0
    await start(dut)
    buffers = Buffers()
    cocotb.start_soon(buffers.answer(dut))
    cocotb.start_soon(buffers.marks(dut))
    await RisingEdge(dut.clk_i)
    return buffers


async def check(dut, buffers: Buffers, matrix: SparseMatrix, seed: int, cuts: list[int]) -> None:
    """One sum, its K blocks cut into instructions, as MV and as MM."""
    rng = np.random.default_rng(seed)
    channels = Channels(
        rng.integers(-(1 << 20), 1 << 20, 16).astype(np.int32),
        rng.integers(1, 65536, 16).astype(np.uint16),
        rng.integers(14, 26, 16).astype(np.uint8),
        is_int8=bool(seed % 2),
    )
    rows = rng.integers(-128, 128, (ROWS, matrix.codes.shape[1]))
    if seed % 3 == 0:
        rows[:] = -128
    buffers.bias |= {40 + i: word(w) for i, w in enumerate(channel_image(channels))}
    for queue in (Queue.MV, Queue.MM):
        is_mm, relu = queue == Queue.MM, int(seed % 4 == 1)
        used, base = 0, 5
        for index, end in enumerate(cuts):
            begin_at = cuts[index - 1] if index else 0
            part = slice(16 * begin_at, 16 * end)
            mask = None if matrix.mask is None else matrix.mask[:, part]
            piece = SparseMatrix(matrix.codes[:, part], mask, matrix.bits)
            codes, masks, _ = group_image(piece, 0)
            weights = buffers.b if is_mm else buffers.a
            weights |= {base + i: word(w) for i, w in enumerate(codes)}
            buffers.meta |= {7 + i: word(w) for i, w in enumerate(masks)}
            buffers.kept |= {32 + i: int(n) for i, n in enumerate(piece.kept[0])}
            for row in range(ROWS):
                words = vector_image(rows[row, part])
                target = buffers.banks[row] if is_mm else buffers.b
                if is_mm or row == 0:
                    target |= {300 + i: word(w) for i, w in enumerate(words)}
            is_last = index == len(cuts) - 1
            one = Instruction(
                queue, k_blocks=piece.k_blocks, output=int(is_last), bias=int(index == 0),
                relu=relu, sparse=int(mask is not None), meta_address=7, fsb_address=1,
                bias_address=40, a_address=300 if is_mm else base,
                b_address=base if is_mm else 300, out_address=2048,
                weight_format=WEIGHT_BITS.index(matrix.bits),
            )  # fmt: skip
            cycles = await run(dut, one)
            count = ROWS if is_mm else 1
            assert cycles == multiply_cycles(piece.kept[0], is_last, count)
            used += piece.k_blocks
        assert used == matrix.k_blocks
        wanted = linear(matrix.codes, rows, channels, bool(relu))
        for row in range(ROWS if is_mm else 1):
            data = buffers.written.pop(2048 + row).to_bytes(WORD // 8, "little")
            found = read_vector(np.frombuffer(data, np.uint8), 16)
            assert found.tolist() == wanted[row].tolist(), f"{queue.name} row {row}"
        assert not buffers.written


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(bits=list(WEIGHT_BITS))
async def every_density_and_split(dut, bits: int) -> None:
    buffers = await begin(dut)
    for seed, kind in enumerate(["dense", "extreme", "mixed", "mixed", "0", "2", "4", "8", "16"]):
        k_blocks = 1 + (seed * 5) % 9
        matrix = draw(np.random.default_rng(seed), k_blocks, bits, kind)
        cuts = [k_blocks] if seed % 2 else sorted({(k_blocks + 1) // 2, k_blocks})
        await check(dut, buffers, matrix, seed, cuts)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def many_sums_in_a_row(dut) -> None:
    buffers = await begin(dut)
    rng = random.Random(5)
    for seed in range(20):
        matrix = draw(
            np.random.default_rng(100 + seed), rng.randint(1, 6), rng.choice([8, 4]), "mixed"
        )
        await check(dut, buffers, matrix, seed, [matrix.k_blocks])
