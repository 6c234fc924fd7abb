"""Signals of a waveform, a value a cycle."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import SpecError
from plait.hwgen.vcd import sample

WAVE = """$timescale 1ps $end
 $scope module TOP $end
  $scope module top $end
   $var wire 1 ! clk_i $end
   $scope module u_part $end
    $var wire 4 # count [3:0] $end
    $var wire 1 % flag $end
   $upscope $end
  $upscope $end
 $upscope $end
$enddefinitions $end
#0
0!
b0001 #
1%
#5
1!
b1x10 #
#10
0!
0%
#15
1!
b11 #
"""


def test_values_are_those_before_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "wave.vcd"
    path.write_text(WAVE)
    seen = sample(path, "top.clk_i", ["top.u_part.count", "top.u_part.flag"])
    assert seen["top.u_part.count"].tolist() == [1, 10, 3]  # an unknown bit reads as 0
    assert seen["top.u_part.flag"].tolist() == [1, 0, 0]


def test_a_signal_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "wave.vcd"
    path.write_text(WAVE)
    with pytest.raises(SpecError, match=r"unknown signal 'top.u_part.cuont'.*top.u_part.count"):
        sample(path, "top.clk_i", ["top.u_part.cuont"])
