"""What every test shares: fixed seeds, the tools it needs, threads that do not fight."""

from __future__ import annotations

import os
import random

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch and numba are loaded: a core a worker
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import numpy as np

from plait.doctor import Check, examine

collect_ignore_glob = ["rtl/cocotb_*.py", "rtl/*/cocotb_*.py"]  # they run inside the simulator
_NEEDS = ("rtl", "model")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-tools",
        action="store_true",
        help="fail, instead of skipping, where Verilator or the weights of SmolLM2 are missing",
    )


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("rtl"):  # a compilation each
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    needed = {need for item in items for need in _NEEDS if item.get_closest_marker(need)}
    if not needed:
        return
    for need, missing in _missing(needed).items():
        remedies = "; ".join(f"{check.name} is missing: {check.remedy}" for check in missing)
        if config.getoption("--require-tools"):
            raise pytest.UsageError(remedies)
        for item in items:
            if item.get_closest_marker(need):
                item.add_marker(pytest.mark.skip(reason=remedies))


def _missing(needed: set[str]) -> dict[str, list[Check]]:
    missing: dict[str, list[Check]] = {}
    for check in examine():
        if check.need in needed and not check.found:
            missing.setdefault(check.need, []).append(check)
    return missing


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Under --require-tools no test that needs a tool may skip itself either."""
    report = yield
    strict = item.config.getoption("--require-tools")
    if strict and report.skipped and any(map(item.get_closest_marker, _NEEDS)):
        report.outcome = "failed"
        report.longrepr = f"skipped under --require-tools: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global state
