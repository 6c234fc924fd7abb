"""What each row of quantiser_reference.csv asks, computed by the public functions.

Inputs are the formulas in the file's header; a case is a line there, so a new case needs no code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import plait
from plait.models import formats
from plait.models.quantize import (
    aqlm,
    awq,
    dgq,
    edkm,
    finequant,
    gptq,
    llm_int8,
    pv_tuning,
    ternary,
    two_bit_mix,
    vptq,
)
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.hessian import proxy_error
from plait.models.quantize.kmeans import best_palette

FILE = Path(__file__).parent / "data" / "quantiser_reference.csv"
ROWS = pd.read_csv(FILE, comment="#", dtype=str, keep_default_na=False)


@dataclass(frozen=True)
class Case:
    """The constants of one case, and its inputs."""

    O: int  # noqa: E741 - the file's own names
    K: int
    a: float
    b: float
    m: int
    r: int
    k1: int
    k2: int
    k0: int

    def noise(self, n: np.ndarray, k0: int | None = None) -> np.ndarray:
        shift = self.k0 if k0 is None else k0
        return ((self.k1 * n * n + self.k2 * n + shift) % 1009) / 504 - 1

    def sine(self, outputs: int, inputs: int) -> np.ndarray:
        n = np.arange(outputs * inputs).reshape(outputs, inputs)
        return 0.05 * np.sin(self.a * n + self.b) * np.where(n % self.m == self.r, 2.5, 1.0)

    def cubic(self, outputs: int, inputs: int, k0: int | None = None) -> np.ndarray:
        return 0.06 * self.noise(np.arange(outputs * inputs).reshape(outputs, inputs), k0) ** 3

    def x(self, tokens: int, inputs: int) -> np.ndarray:
        n = np.arange(tokens * inputs).reshape(tokens, inputs)
        return 1.2 * self.noise(n) * np.where(np.arange(inputs) % 16 == 5, 6.0, 1.0)

    @cached_property
    def vectors(self) -> int:
        return 48 if self.K == 128 else 32


@cache
def cases() -> dict[str, Case]:
    found = {}
    for name, text in re.findall(r"^# case (\w+): (.*)$", FILE.read_text(), re.MULTILINE):
        numbers = dict(re.findall(r"(\w+)[= ](-?[\d.]+)", text.replace("=", " ")))
        whole = {key: int(numbers[key]) for key in ("O", "K", "m", "r", "k1", "k2", "k0")}
        found[name] = Case(**whole, a=float(numbers["a"]), b=float(numbers["b"]))
    return found


def chk(codes: Any) -> int:
    flat = np.asarray(codes, np.int64).reshape(-1)
    return int((np.arange(1, flat.size + 1) * flat).sum() % 1000003)


def mse(a: Any, b: Any) -> float:
    return float(np.square(np.asarray(a, np.float64) - b).mean())


def hexadecimal(words: Any) -> str:
    return " ".join(f"{word:08x}" for word in np.asarray(words).reshape(-1).tolist())


def rows_of_llm_int8(case: Case) -> dict[str, Any]:
    exact = case.x(6, case.K) @ case.sine(case.O, case.K).T
    w = case.sine(case.O, case.K).astype(np.float16)
    x = case.x(6, case.K).astype(np.float16)
    codes, scales = llm_int8.quantise_rows(w)
    seen = llm_int8.quantise_activations(x)
    y, sums = llm_int8.linear(x, w)
    kept, _ = llm_int8.linear(x, w, outlier_weights="fp16")
    return {
        "outlier_columns": seen.outliers,
        "x_scale[0]": seen.scales[0],
        "x_codes_chk": chk(seen.codes),
        "x_codes[0][0:8]": seen.codes[0, :8],
        "w_scale[0]": scales[0],
        "w_codes_chk": chk(codes),
        "w_codes[0][0:8]": codes[0, :8],
        "acc[0][0]": sums[0, 0],
        "acc_chk": chk(sums),
        "y[0][0]": y[0, 0],
        "y_mse_int8_outlier_weights": mse(y, exact),
        "y_mse_fp16_outlier_weights": mse(kept, exact),
    }


def rows_of_dgq(case: Case) -> dict[str, Any]:
    w, x = case.sine(case.O, case.K), case.x(24, case.K)
    scales, zeros = dgq.group_search(w, x, 16)
    found = dgq.row_search(w, x, scales, zeros)
    codes, _ = dgq.token_codes(x)
    sums = codes @ found.int8_weights.T
    return {
        "group_scale[0][0]": scales[0, 0],
        "zero[0][0:4]": found.zeros[0, :4],
        "zero_chk": chk(found.zeros),
        "channel_scale[0]": found.row_scales[0],
        "channel_scale[1]": found.row_scales[1],
        "int_scale[0][0:4]": found.int_scales[0, :4],
        "int_scale_chk": chk(found.int_scales),
        "codes[0][0:8]": found.codes[0, :8],
        "codes_chk": chk(found.codes),
        "int8_weight_chk": chk(found.int8_weights),
        "int8_weight_absmax": np.abs(found.int8_weights).max(),
        "w_mse": mse(found.quantised, w),
        "y_mse": mse(x @ found.quantised.T, x @ w.T),
        "acc[0][0] (x int8 per token)": sums[0, 0],
        "acc_chk": chk(sums),
    }


def rows_of_dgq_smooth(case: Case) -> dict[str, Any]:
    largest = np.abs(case.x(24, case.K)).max(axis=0)
    found = {}
    for fraction in (0.005, 0.05):
        one = dgq.smoothing(largest, fraction)
        found |= {
            f"rank k ({fraction})": one.rank,
            f"baseline ({fraction})": one.baseline,
            f"max factor ({fraction})": one.factors.max(),
            f"sum of factors ({fraction})": one.factors.sum(),
        }
    return found


def rows_of_finequant_standin(case: Case) -> dict[str, Any]:
    w, found = case.cubic(case.O, case.K), {}
    for alpha in (0.03, 0.05):
        choice = finequant.choose_group(w, alpha, 16)
        codes, scales = finequant.symmetric_codes(w, 4, choice.group_size)
        values = codes * np.repeat(scales, choice.group_size, axis=1)
        found |= {
            f"alpha {alpha}: chosen group": choice.group_size,
            f"alpha {alpha}: range drops": choice.drops,
            f"alpha {alpha}: scale[0][0]": scales[0, 0],
            f"alpha {alpha}: codes_chk": chk(codes),
            f"alpha {alpha}: w_mse": mse(values, w),
        }
    return found


def rows_of_finequant_int4(case: Case) -> dict[str, Any]:
    w, found = case.sine(case.O, case.K), {}
    for group in (case.K, 16):
        codes, scales = finequant.symmetric_codes(w, 4, group)
        values = codes * np.repeat(scales, group, axis=1)
        found |= {f"codes_chk g={group}": chk(codes), f"w_mse g={group}": mse(values, w)}
    return found


def rows_of_edkm(case: Case, bits: int) -> dict[str, Any]:
    w = case.cubic(16, 32)
    start, inertia = best_palette(w, 1 << bits)
    soft = edkm.soft_palette(w, start)
    labels = edkm.palette_labels(w, soft.centroids)
    return {
        "kmeans centroids": start,
        "kmeans inertia": inertia,
        "iterations": soft.rounds,
        "dkm centroids": soft.centroids,
        "soft w_mse": mse(soft.weights, w),
        "hard labels_chk": chk(labels),
        "hard labels[0:8]": labels.reshape(-1)[:8],
        "hard w_mse": mse(soft.centroids[labels], w),
    }


def rows_of_edkm_unique(case: Case) -> dict[str, Any]:
    w = case.sine(64, 64)
    alone, shared = edkm.uniquify(w, 8), edkm.uniquify(w, 8, learners=8)
    return {
        "unique bf16 patterns (64x64 Wsin)": alone.patterns,
        "attention map bytes (8 centroids bf16)": alone.map_bytes,
        "table+index bytes": alone.table_bytes,
        "table+index bytes 8 learners per learner": shared.learner_bytes,
    }


def rows_of_twobit(case: Case, hessian: bool) -> dict[str, Any]:
    w = case.sine(case.O, case.K)
    x = case.x(96, case.K)
    sensitivity = np.diag(as_statistics(x, case.K, "test").hessian) if hessian else None
    found = two_bit_mix.mixed_codes(w, 0.25, sensitivity)
    main, side = found.words()
    narrow = two_bit_mix.mixed_codes(w, 0.0)  # the rows list scales and zeros of all groups
    return {
        "4-bit column groups": found.wide_groups,
        "scale2[0][0]": narrow.steps[0, 0],
        "scale_codes[0][:]": narrow.scale_codes[0],
        "scale_codes_chk": chk(narrow.scale_codes),
        "zero_chk (2-bit zeros all groups)": chk(narrow.zeros),
        "codes_chk": chk(found.codes),
        "w_mse": mse(found.quantised, w),
        "main words row 0": hexadecimal(main[0]),
        "side word row 0 first 4-bit group": hexadecimal(side[0, :1]),
    }


def rows_of_vptq(case: Case, residual: int = 0, normalise: bool = False) -> dict[str, Any]:
    w, h = (
        case.cubic(16, case.vectors),
        as_statistics(case.x(128, case.vectors), case.vectors, "").hessian,
    )
    found = vptq.vector_codes(w, h, 4, 8, residual, normalise)
    rows = {
        "permutation[0:8]": found.permutation[:8],
        "centroid[0]": found.codebook[0],
        "centroid_sum": found.codebook.sum(),
        "kmeans iterations": found.rounds,
        "proxy error k-means only": found.kmeans_error,
        "proxy error final": found.proxy_error,
        "proxy of W": vptq.pair_error(w, h),
        "index[0][0:8]": found.index[0, :8],
        "index_chk": chk(found.index),
        "packed row 0": hexadecimal(vptq.packed_words(found)[0]),
        "w_mse": mse(found.quantised, w),
    }
    if residual:
        rows["res_centroid[0]"] = found.residual_codebook[0]
        rows["res_index_chk"] = chk(found.residual_index)
    return rows


@cache
def additive_start(case: Case) -> tuple[np.ndarray, np.ndarray, aqlm.AdditiveCodes]:
    w = case.cubic(8, case.vectors)
    gram = as_statistics(case.x(128, case.vectors), case.vectors, "test").gram
    return w, gram, aqlm.initial_codes(w, 2, 8, 4)


def rows_of_aqlm(case: Case) -> dict[str, Any]:
    w, gram, start = additive_start(case)
    rows = {
        "scale[0]": start.scales[0],
        "codebook[0][0]": start.books[0, 0],
        "codebook_sum": start.books.sum(),
        "init codes_chk": chk(start.codes),
        "init codes[0][0:4]": start.codes[0].reshape(-1, 2)[:2].reshape(-1),
        "init loss": aqlm.loss(w, gram, start),
        "init w_mse": mse(start.quantised, w),
    }
    rows["init codes[0][0:4]"] = start.codes[0, :4].reshape(-1)
    for beam in (1, 2):
        better = aqlm.beam_search(w, gram, start, beam)
        rows[f"beam {beam} codes_chk"] = chk(better.codes)
        rows[f"beam {beam} loss"] = aqlm.loss(w, gram, better)
    return rows


def rows_of_pv(case: Case) -> dict[str, Any]:
    w, gram, start = additive_start(case)
    of_books, of_scales, of_weights = aqlm.gradients(w, gram, start)
    stepped = pv_tuning.value_step(w, gram, start, 0.3)
    rows = {
        "P grad codebook[0][0]": of_books[0, 0],
        "P grad scale[0]": of_scales[0],
        "loss after P step (SGD lr 0.3)": aqlm.loss(w, gram, stepped),
    }
    target = start.quantised - 0.8 * of_weights
    moves = {
        "V beam 1 frac 1 trust None": pv_tuning.code_step(target, start, 1, 1.0),
        "V beam 2 frac 0.25 trust None": pv_tuning.code_step(target, start, 2, 0.25),
        "V beam 2 frac 0.25 trust 0.1": pv_tuning.code_step(target, start, 2, 0.25, 0.1),
        "subspace V sweep": pv_tuning.subspace_sweep(w, gram, start, 2),
    }
    for name, moved in moves.items():
        rows[f"{name} groups changed"] = (moved.codes != start.codes).any(axis=2).sum()
        rows[f"{name} codes_chk"] = chk(moved.codes)
        rows[f"{name} loss"] = aqlm.loss(w, gram, moved)
    return rows


def rows_of_ternary(case: Case) -> dict[str, Any]:
    w, x = case.sine(case.O, case.K), case.x(4, case.K)
    found = ternary.trits(w)
    codes, _ = ternary.activation_codes(x)
    y, sums = ternary.linear(x, w)
    return {
        "absmean": found.scale,
        "codes[0][0:16]": found.codes[0, :16],
        "codes_chk": chk(found.codes),
        "zeros": (found.codes == 0).sum(),
        "w_mse": mse(found.codes * found.scale, w),
        "x_codes_chk (after RMSNorm)": chk(codes),
        "x_codes[0][0:8]": codes[0, :8],
        "acc[0][0]": sums[0, 0],
        "acc_chk": chk(sums),
        "y[0][0]": y[0, 0],
    }


def rows_of_mlgru(case: Case) -> dict[str, Any]:
    import torch

    from plait.models.llm.matmul_free import MLGRU

    mixer = MLGRU(16).double()
    with torch.no_grad():
        for shift, part in enumerate((mixer.i, mixer.f, mixer.g, mixer.o)):
            part.weight.copy_(torch.from_numpy(case.cubic(16, 16, case.k0 + shift)))
        y, h = mixer(torch.from_numpy(case.x(5, 16))[None], 0.1)
    return {"h[4][0:4]": h[0, 4, :4], "y[4][0:4]": y[0, 4, :4], "y_sum": y.sum().item()}


def rows_of_gptq(case: Case, **options: Any) -> dict[str, Any]:
    w, h = case.sine(case.O, case.K), as_statistics(case.x(192, case.K), case.K, "test").hessian
    found = gptq.gptq_codes(w, h, "int4-asym", **options)
    return {
        "scale[0][0]": found.scales[0, 0],
        "zero[0][0]": found.zeros[0, 0],
        "codes[0][0:8]": found.codes[0, :8],
        "codes_chk": chk(found.codes),
        "loss": found.loss,
        "w_mse": mse(found.quantised, w),
        "proxy": proxy_error(found.quantised - w, h),
    }


def rows_of_awq(case: Case) -> dict[str, Any]:
    w, seen = case.sine(case.O, case.K), as_statistics(case.x(192, case.K), case.K, "test")
    plain = awq.range_codes(w, 4, 16)
    best = awq.scale_search(w, seen, 4, 16)
    limits = awq.clip_search(w, seen, 4, 16)
    return {
        "rtn codes_chk": chk(plain.codes),
        "rtn zero_chk": chk(plain.zeros),
        "rtn w_mse": mse(plain.quantised, w),
        "rtn y_mse": seen.output_mse(plain.quantised - w),
        "best ratio": best.ratio,
        "scale[0:4]": best.scales[:4],
        "scaled codes_chk": chk(best.codes.codes),
        "best y_mse": best.output_mse,
        "clip max[0][0:4]": limits[0, :4],
        "clip max sum": limits.sum(),
    }


def rows_of_blocks(case: Case, name: str) -> dict[str, Any]:
    w = case.sine(case.O, case.K)
    found = plait.quantize(w, name)
    codes = found.codes.astype(np.int64)
    if name == "mxint8":
        codes = np.where(codes > 127, codes - 256, codes)
    blocks = found.scale_codes
    return {
        "scale_codes[0:4]": blocks.reshape(-1)[:4],
        "scale_codes_chk": chk(blocks),
        "block scale codes[0:4]": blocks.reshape(-1)[:4],
        "block scale codes_chk": chk(blocks),
        "elem_codes[0:8]": codes[0, :8],
        "elem_codes_chk": chk(codes),
        "w_mse": mse(found.dequantize(), w),
        "global scale": found.extras.get("tensor_scale", [0])[0],
    }


BLOCK_FORMATS = {
    "mxfp4": "mxfp4",
    "mxfp6_e2m3": "mxfp6-e2m3",
    "mxfp6_e3m2": "mxfp6-e3m2",
    "mxfp8_e4m3": "mxfp8-e4m3",
    "mxfp8_e5m2": "mxfp8-e5m2",
    "mxint8": "mxint8",
    "nvfp4": "nvfp4",
}
METHODS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "llm_int8": rows_of_llm_int8,
    "dgq": rows_of_dgq,
    "dgq_smooth": rows_of_dgq_smooth,
    "finequant_standin": rows_of_finequant_standin,
    "finequant_int4": rows_of_finequant_int4,
    "edkm_2bit": lambda case: rows_of_edkm(case, 2),
    "edkm_3bit": lambda case: rows_of_edkm(case, 3),
    "edkm_unique": rows_of_edkm_unique,
    "twobit_range": lambda case: rows_of_twobit(case, False),
    "twobit_hessian": lambda case: rows_of_twobit(case, True),
    "vptq": rows_of_vptq,
    "vptq_res": lambda case: rows_of_vptq(case, 4),
    "vptq_norm": lambda case: rows_of_vptq(case, 0, True),
    "aqlm": rows_of_aqlm,
    "pv": rows_of_pv,
    "ternary": rows_of_ternary,
    "mlgru": rows_of_mlgru,
    "gptq_row": rows_of_gptq,
    "gptq_g16_block32": lambda case: rows_of_gptq(case, group_size=16, block=32),
    "gptq_row_actorder": lambda case: rows_of_gptq(case, act_order=True),
    "awq": rows_of_awq,
} | {name: (lambda case, fmt=fmt: rows_of_blocks(case, fmt)) for name, fmt in BLOCK_FORMATS.items()}


@cache
def computed(method: str, case: str) -> dict[str, Any]:
    return METHODS[method](cases()[case])


def cast(method: str, quantity: str) -> float:
    """``value(x)`` or ``code(x)`` of an element cast: no scale, saturating."""
    element = {"e2m1": "mxfp4", "e2m3": "mxfp6-e2m3", "e3m2": "mxfp6-e3m2", "e4m3": "mxfp8-e4m3"}
    fmt = formats.get((element | {"e5m2": "mxfp8-e5m2"})[method.removeprefix("cast_")])
    kind, number = re.fullmatch(r"(value|code)\((.*)\)", quantity).groups()
    code = fmt.encode(np.array([float(number)]))
    return float(code[0]) if kind == "code" else float(fmt.decode(code)[0])


def stored_bits(method: str, outputs: int, inputs: int) -> float:
    """The ``bits per weight`` rows."""
    if found := re.fullmatch(r"vptq v(\d+) k(\d+)(?:\+(\d+))?", method):
        sizes = [int(part or 0) for part in found.groups()]
        return vptq.bits_per_weight(outputs, inputs, *sizes)
    if found := re.fullmatch(r"aqlm (\d+)x(\d+) g(\d+)", method):
        return aqlm.bits_per_weight(outputs, inputs, *map(int, found.groups()))
    if found := re.fullmatch(r"dgq g(\d+)( 4-bit zero)?", method):
        return dgq.bits_per_weight(inputs, int(found.group(1)), 4 if found.group(2) else 8)
    if found := re.fullmatch(r"edkm (\d)bit (?:per tensor|1 LUT per (\d+) rows)", method):
        luts = outputs // int(found.group(2)) if found.group(2) else 1
        return edkm.bits_per_weight(outputs, inputs, int(found.group(1)), luts)
    if found := re.fullmatch(r"(?:gptq|awq) int(\d) g(\d+)", method):
        fmt = formats.get(f"int{found.group(1)}-asym")
        return fmt.bits_per_weight(int(found.group(2)), inputs, scale_bits=16)
    if found := re.fullmatch(r"finequant int(\d) g(\d+)", method):
        fmt = formats.get(f"int{found.group(1)}")
        return fmt.bits_per_weight(int(found.group(2)), inputs, scale_bits=16)
    if found := re.fullmatch(
        r"twobit p=([\d.]+) (?:g1=16 g2=16 no outliers|\+ ([\d.]+)% outliers)", method
    ):
        part = float(found.group(1))
        outliers = float(found.group(2) or 0) / 100
        return two_bit_mix.bits_per_weight(part, outliers * (1 - part))
    packings = {"2-bit codes": "2-bit", "5 in 8 bits": "five-in-a-byte"}
    if method.startswith("ternary "):
        return ternary.bits_per_weight(outputs, inputs, packings[method.removeprefix("ternary ")])
    if method == "llm_int8":
        return formats.get("int8").bits_per_weight("channel", inputs, scale_bits=32)
    name = {"mxfp6": "mxfp6-e2m3", "mxfp8": "mxfp8-e4m3"}.get(method, method)
    return formats.get(name).bits_per_weight(None, inputs, outputs=outputs)
