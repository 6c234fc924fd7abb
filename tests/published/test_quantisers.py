"""Every row of quantiser_reference.csv: integers and words equal, floats to 1e-6."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from quantiser_rows import ROWS, cases, cast, computed, stored_bits

import plait

SLOW = ("aqlm", "pv", "vptq", "vptq_res")  # compilation of their search, then a fit a case
BLOCK_INPUTS = {  # the rows name the block by its largest value; these inputs round as they say
    "block amax 7.9": [7.9, -6.0, 0.3, 1.25],
    "block amax 4": [4.0, -2.5, 0.25, 0.75],
    "block zero block": [0.0, 0.0],
    "block tiny": [2.0**-130, 0.0],
}


def value(method: str, case: str, quantity: str) -> Any:
    if case in BLOCK_INPUTS:
        numbers = BLOCK_INPUTS[case]
        block = np.pad(np.array(numbers, np.float32), (0, 32 - len(numbers)))[np.newaxis]
        small = plait.quantize(block, method.replace("_", "-"))
        return (
            small.scale_codes[0, 0]
            if quantity == "scale_code"
            else small.dequantize()[0, : len(numbers)]
        )
    if method.startswith("cast_"):
        return cast(method, quantity)
    if quantity == "bits per weight":
        return stored_bits(method, *map(int, case.split("x")))
    return computed(method, case)[quantity]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=f"{row.Index}-{row.method}-{row.case}-{row.quantity}",
            marks=[pytest.mark.slow] if row.method in SLOW else [],
        )
        for row in ROWS.itertuples()
    ],
)
def test_row(row: Any) -> None:
    got = value(row.method, row.case, row.quantity)
    if isinstance(got, str):
        assert got == row.value
        return
    numbers = np.array([float(part) for part in row.value.split()])
    got = np.asarray(got, np.float64).reshape(-1)
    if "." not in row.value and "e" not in row.value:
        assert got.tolist() == numbers.tolist()
    else:
        assert got == pytest.approx(numbers, rel=1e-6)


def test_the_cases_come_from_the_header() -> None:
    assert {"R1", "R2"} <= set(cases())
