"""Malformed inputs by mutation of good ones: every one ends in one line, quickly, in little memory.

python malformed.py KIND FOLDER    # in a process of its own: prints one JSON line of what was seen
"""

from __future__ import annotations

import io
import json
import random
import resource
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COUNT = 240  # inputs of a kind

MACHINE = """\
family: bit_serial
name: mine
clock_hz: 1e9
array: {decode: {rows: 64, columns: 1}, prefill: {rows: 32, columns: 32}}
pe: {kind: bit_serial, lanes: 4, energy_pj: 1.2, area_um2: 1500}
buffers: {weight_bytes: 512e3, activation_bytes: 512e3}
dram: {port_bits_per_cycle: 256}
"""
SPACE = """\
model: llama-2-7b
machine: bitmod-lossy
context: [256, 1024]
vary:
  array.decode.rows: {from: 8, to: 256, step: 8}
  formats.weight: [int4, bitmod4]
  clock_hz: {from: 0.5e9, to: 2e9, count: 8, scale: log}
where: "area_mm2 < 4 and (bound == 'memory' or cycles >= 1e6)"
"""
CLUSTER = """\
model: llama-3-70b
formats: w16a16kv16
policy: attention_offload
devices:
  - {machine: h100, count: 2, role: compute}
  - {machine: h20, count: 4, role: memory}
network: {bandwidth_bytes_per_s: 45.7e9, round_trip_s: 33e-6}
limits: {time_to_first_token_s: 2.0, time_between_tokens_s: 0.1}
failures: [{device: h20/1, at_s: 100, for_s: 30}]
"""
NASTY = [
    "!!python/object/apply:os.system ['touch pwned']", "&a [*a, *a]", "{}", "[]", "~", "-1", "0",
    "1e400", ".nan", "-.inf", "9" * 400, "'" * 7, "\t- x", "{" * 100, "[" * 2000, "<<: *x",
    "null", "true", "2001-01-01", "0x10", "1_000", "\x00", "\ufeff", "é" * 50, "a: b: c", "%YAML 9",
    "../../etc/passwd", "/dev/zero", "$(id)", "__import__('os')", "bitmod-lossy", "- - - -",
]  # fmt: skip


def main(kind: str, folder: Path) -> None:
    """Try every mutant of a kind."""
    load, suffix, good = KINDS[kind](folder)
    load(write(folder, "good", suffix, good))  # otherwise nothing is tested
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, slowest, wrong = 0, 0.0, []
    for number, data in enumerate(mutants(good, kind)):
        path = write(folder, f"{number:03d}", suffix, data)
        begun = time.perf_counter()
        complaint = fault_of(load, path)
        slowest = max(slowest, time.perf_counter() - begun)
        refused += complaint is not None
        if complaint and (problem := what_is_wrong(complaint)):
            wrong.append(f"{path.name}: {problem}")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({
        "inputs": COUNT, "refused": refused, "slowest_s": slowest,
        "grown_mib": (after - before) / 1024, "wrong": wrong[:5],
        "strays": sorted(p.name for p in folder.iterdir() if p.suffix != suffix),
    }))  # fmt: skip


def fault_of(load: Callable[[Path], Any], path: Path) -> BaseException | None:
    """What loading raised; a mutant may also be good."""
    try:
        load(path)
    except Exception as error:
        return error
    return None


def what_is_wrong(error: BaseException) -> str:
    """Say why an error is not one a user should see, or nothing."""
    from plait.errors import PlaitError

    if not isinstance(error, PlaitError):
        return f"{type(error).__name__}: {error}"[:300]
    text = str(error)
    return f"not one short line: {text[:300]!r}" if "\n" in text or len(text) > 2000 else ""


def write(folder: Path, name: str, suffix: str, data: bytes) -> Path:
    """Write one input."""
    path = folder / f"{name}{suffix}"
    path.write_bytes(data)
    return path


def mutants(good: bytes, kind: str) -> Iterator[bytes]:
    """Cut, flip, double, swap; in texts also what breaks parsers."""
    draw = random.Random(kind)
    text = kind in ("machine", "space", "trace", "cluster")
    for number in range(COUNT):
        if text and number % 2:
            yield with_nasty_text(good, draw)
        else:
            yield with_broken_bytes(good, draw, number)


def with_broken_bytes(good: bytes, draw: random.Random, number: int) -> bytes:
    """Damage near the start as often as anywhere: that is where headers are."""
    data = bytearray(good)
    if number % 8 == 0:
        return bytes(data[: draw.randrange(len(data))])
    reach = len(data) if number % 3 else min(len(data), 256)
    for _ in range(draw.choice([1, 1, 2, 8])):
        at = draw.randrange(reach)
        match draw.randrange(5):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                data[at : at + 8] = b"\xff" * 8
            case 2:
                data[at : at + 8] = bytes(8)
            case 3:
                end = at + draw.randrange(1, 64)
                data[at:at] = data[at:end]
            case _:
                del data[at : at + draw.randrange(1, 64)]
                data = data or bytearray(b"\x00")
        reach = min(reach, len(data))
    return bytes(data)


def with_nasty_text(good: bytes, draw: random.Random) -> bytes:
    """Put something awkward in place of a word, or before or behind a line."""
    lines = good.decode().split("\n")
    at = draw.randrange(len(lines))
    nasty = draw.choice(NASTY)
    words = lines[at].split(" ")
    match draw.randrange(4):
        case 0:
            lines.insert(at, nasty)
        case 1:
            lines[at] += nasty
        case 2:
            words[draw.randrange(len(words))] = nasty
            lines[at] = " ".join(words)
        case _:
            lines[at] = lines[at].replace(draw.choice(",:{[0123456789"), nasty)
    return "\n".join(lines).encode("utf-8", "replace")


# --- kinds: the loader, the ending, and a good input -------------------------------------------

Kind = tuple[Callable[[Path], Any], str, bytes]


def machine(folder: Path) -> Kind:
    from plait.sim.spec import load_accelerator

    return load_accelerator, ".yaml", MACHINE.encode()


def space(folder: Path) -> Kind:
    from plait.sim.sweep import load_space

    return load_space, ".yaml", SPACE.encode()


def cluster(folder: Path) -> Kind:
    from plait.sim.serving.cluster import load_cluster

    return load_cluster, ".yaml", CLUSTER.encode()


def trace(folder: Path) -> Kind:
    from plait.sim.serving.request import check, load_requests

    rows = [f"{number * 0.25},{100 + number},{10 + number % 7}" for number in range(60)]
    text = "\n".join(["arrival_s,context,generated", *rows, ""])
    return (lambda path: check(load_requests(path))), ".csv", text.encode()


def instructions(folder: Path) -> Kind:
    """The binary of the sparse DSP machine."""
    import numpy as np

    from plait.hwgen.sparse_dsp.program import decode, encode
    from plait.sim.compiler.instruction import Instruction, Program, Queue

    one = [
        Instruction(Queue.LD, release=1 << Queue.MV, length=4096),
        Instruction(Queue.MV, wait=1 << Queue.LD, release=1 << Queue.ST, k_blocks=16, output=1),
        Instruction(Queue.ST, wait=1 << Queue.MV, length=512),
        Instruction(Queue.MISC, k_blocks=4),
        Instruction(Queue.SYS),
    ]
    made = Program.of(one * 8)

    def load(path: Path) -> object:
        data = path.read_bytes()
        return decode(np.frombuffer(data[: len(data) // 4 * 4], dtype="<u4"))

    return load, ".bin", encode(made).astype("<u4").tobytes()


def pt2(folder: Path) -> Kind:
    import torch

    from plait import api
    from plait.models.graph.load import load_graph

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.Linear(8, 16)
            self.norm = torch.nn.LayerNorm(16)

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return self.norm(torch.nn.functional.silu(self.up(hidden)))

    path = folder / "made.pt2"
    api.export(Block(), path, (torch.zeros(2, 3, 8),))
    data = path.read_bytes()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in zipfile.ZipFile(path).infolist():
            content = bytes(1 << 30) if info.filename.endswith("model.json") else b"1"
            archive.writestr(info.filename, content)
    write(folder, "bomb", ".pt2", bomb.getvalue())
    assert fault_of(load_graph, folder / "bomb.pt2") is not None
    return load_graph, ".pt2", data


def safetensors(folder: Path) -> Kind:
    import numpy as np

    from plait.models.quantize.granularity import PerGroup
    from plait.models.quantize.rtn import quantize_array
    from plait.models.quantize.storage import load_tensors, save_tensors

    weight = np.random.default_rng(0).normal(size=(6, 32)).astype(np.float32)
    path = folder / "made.safetensors"
    save_tensors(path, {"w": quantize_array(weight, "bitmod4", PerGroup(16), scale_bits=8)})
    return load_tensors, ".safetensors", path.read_bytes()


def gguf(folder: Path) -> Kind:
    import gguf as library
    import numpy as np

    from plait.models.llm.weights import load_module

    path = folder / "made.gguf"
    writer = library.GGUFWriter(path, "llama")
    sizes = {"layers": 1, "width": 32, "ffn": 32, "heads": 2, "vocab": 8}
    writer.add_block_count(sizes["layers"])
    writer.add_context_length(16)
    writer.add_embedding_length(sizes["width"])
    writer.add_feed_forward_length(sizes["ffn"])
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    zeros = np.zeros((32, 32), np.float32)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", zeros)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(32, np.float32))
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return load_module, ".gguf", path.read_bytes()


KINDS: dict[str, Callable[[Path], Kind]] = {
    "machine": machine,
    "space": space,
    "cluster": cluster,
    "trace": trace,
    "instructions": instructions,
    "pt2": pt2,
    "safetensors": safetensors,
    "gguf": gguf,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
