"""The methods that the accuracy study compares, at the settings of their papers.

Where a published setting cannot be had on SmolLM2's small matrices, the remark says what stands for
it. Next: plait.study_rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GROUP", "METHODS", "Method"]

GROUP = 64  # published groups of 128 do not divide the 576 inputs of SmolLM2's linears
_GROUPED = f"published groups of 128 do not divide its inputs: {GROUP}"
_SMALL_BOOK = "smaller than published, to fit small matrices"


@dataclass(frozen=True, slots=True)
class Method:
    """One row: a name, and what `plait.quantize` is asked for.

    Attributes:
        activations: how the linears see their inputs: ``""`` as they are, ``int8`` or
            ``llm-int8``.
        cpu_minutes: to quantise SmolLM2-135M on one core, where that is long: of several methods
            the longest is begun first, so that no core is left with it alone.
    """

    name: str
    format: str
    method: str
    group_size: int | str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    is_calibrated: bool = False
    in_quick: bool = False
    activations: str = ""
    cpu_minutes: int = 0
    remark: str = ""

    @property
    def recipe(self) -> tuple[object, ...]:
        """What the weights depend on: methods of one recipe differ in their activations alone."""
        options = tuple(sorted(self.options.items()))
        return self.format, self.method, self.group_size, options, self.is_calibrated


METHODS = (
    Method("rtn int4", "int4", "rtn", GROUP, in_quick=True),
    Method("rtn int4-asym", "int4-asym", "rtn", GROUP),
    Method("gptq int4", "int4-asym", "gptq", GROUP, {}, True, True, remark=_GROUPED),
    Method("gptq int3", "int3-asym", "gptq", GROUP, {}, True, remark=_GROUPED),
    Method("awq int4", "int4-asym", "awq", GROUP, {}, True, cpu_minutes=2, remark=_GROUPED),
    Method(
        "llm.int8",
        "int8-outlier",
        "llm-int8",
        "channel",
        activations="llm-int8",
        remark="INT8 activations, outlier columns from 6.0 in FP16",
    ),
    Method("dgq int4", "int4-dual", "dgq", GROUP, {}, True, cpu_minutes=5, remark=_GROUPED),
    Method(
        "dgq int4, int8 activations",
        "int4-dual",
        "dgq",
        GROUP,
        {},
        True,
        activations="int8",
        cpu_minutes=5,
        remark="one scale a token; without the paper's smoothing",
    ),
    Method(
        "finequant int4",
        "int4",
        "finequant",
        remark="stand-in: the paper's rule for groups is not published",
    ),
    Method("edkm palette 4 bit", "palette4", "edkm", remark="no fine-tuning", in_quick=True),
    Method("edkm palette 3 bit", "palette3", "edkm", remark="no fine-tuning"),
    Method(
        "2/4/16-bit mix",
        "int2-int4",
        "two-bit-mix",
        is_calibrated=True,
        remark="the paper's rule for outliers is not published",
    ),
    Method(
        "vptq v6 k4096",
        "vptq-v6-k4096",
        "vptq",
        None,
        {"rounds": 10},
        True,
        cpu_minutes=10,
        remark="as published: the codebook is as large as the codes",
    ),
    Method("vptq v4 k256", "vptq-v4-k256", "vptq", None, {"rounds": 10}, True, remark=_SMALL_BOOK),
    Method(
        "aqlm 2x8 g8",
        "aqlm-2x8-g8",
        "aqlm",
        None,
        {"sweeps": 1},
        True,
        cpu_minutes=4,
        remark="one sweep",
    ),
    Method(
        "pv-tuning 2x8 g8",
        "aqlm-2x8-g8",
        "pv-tuning",
        None,
        {"sweeps": 1},
        True,
        cpu_minutes=4,
        remark="layer loss; the paper tunes the whole model",
    ),
    Method("ternary", "ternary", "ternary", "tensor", remark="made for training, not for rounding"),
    Method("mxfp4", "mxfp4", "mx"),
    Method("nvfp4", "nvfp4", "nvfp4", in_quick=True),
    Method("bitmod4", "bitmod4", "rtn", GROUP, {"scale_bits": 8}, remark=_GROUPED),
    Method("bitmod3", "bitmod3", "rtn", GROUP, {"scale_bits": 8}, remark=_GROUPED),
    Method(
        "sparse 8:16 int8",
        "int8",
        "sparse",
        GROUP,
        {"kept": 8, "importance": "wanda"},
        True,
        remark="Wanda; perplexity flatters pruning: read agreement and KL",
    ),
    Method(
        "mixed 3.5 bit",
        "int2/3/4/8",
        "mixed",
        GROUP,
        {},
        True,
        remark="widths by output error",
    ),
)
