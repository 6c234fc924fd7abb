"""The page in headless Chromium: console, widths, colour schemes, keyboard (`make test-page`).

Needs Debian's chromium, which `.ci/run` installs and `make test` does not ask for.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

import plait
from plait.sim.report.page import write_page

pytestmark = [pytest.mark.page, pytest.mark.slow]

WIDTHS = (400, 1400)
# Runs after the page's own script; what it finds is left in the document that --dump-dom prints.
PROBE = """
<script>addEventListener("load", () => setTimeout(() => {
  const buttons = [...document.querySelectorAll("thead button")];
  const before = document.querySelector("#ops tbody")?.textContent;
  buttons.find((b) => b.closest("#ops"))?.click();
  const sorted = document.querySelector("#ops tbody")?.textContent !== before;
  const filter = document.querySelector("input[type=search], input[type=text]");
  let filtered = -1;
  if (filter) {
    filter.value = "mlp"; filter.dispatchEvent(new Event("input", {bubbles: true}));
    filtered = document.querySelectorAll("#ops tbody tr").length;
  }
  const untabbed = [...document.querySelectorAll("button, a, input, select, summary")]
    .filter((e) => e.tabIndex < 0 && !e.closest(".js-plotly-plot")).length;
  const found = {
    sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    background: getComputedStyle(document.body).backgroundColor,
    plots: document.querySelectorAll(".js-plotly-plot svg.main-svg").length,
    tables: document.querySelectorAll("table").length, untabbed, sorted, filtered,
    outside: [...document.querySelectorAll("[src], link[href]")]
      .filter((e) => !(e.src || e.href).startsWith("data:")).length,
  };
  const pre = document.createElement("pre");
  pre.id = "probe"; pre.textContent = JSON.stringify(found);
  document.body.append(pre);
}, 500));</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two machines compared, with the probe added."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    reports = [
        plait.simulate("llama-2-7b", machine, context=256) for machine in ("bitmod-lossy", "ant")
    ]
    write_page(reports, path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_reader_can_use_it(page: Path, width: int, scheme: str) -> None:
    found, complaints = visit(page, width, scheme)
    assert complaints == []
    assert found["sideways"] <= 0
    assert found["plots"] >= 2
    assert found["tables"] >= 2
    assert found["untabbed"] == 0
    assert found["sorted"]
    assert 0 < found["filtered"] < 20
    assert found["outside"] == 0  # nothing is loaded: it opens offline
    red = int(re.findall(r"\d+", found["background"])[0])
    assert (red < 80) == (scheme == "dark")


def visit(page: Path, width: int, scheme: str) -> tuple[dict, list[str]]:
    """Open a page; give what the probe found, and the errors on the console."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is missing: apt-get install chromium"
    colour = {"dark": "0", "light": "1"}[scheme]
    done = subprocess.run(
        [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--window-size={width},900", f"--blink-settings=preferredColorScheme={colour}",
         "--enable-logging=stderr", "--virtual-time-budget=15000",
         f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "LANG": "C"},
    )  # fmt: skip
    probe = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert probe, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(probe[1])), console
