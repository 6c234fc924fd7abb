"""The PEs that area is compared with compute what they should, too."""

import pytest
from harness import simulate, sources_of

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("pe", ["plait_fp16_mac", "plait_ant_pe", "plait_olive_pe"])
@pytest.mark.parametrize(("lanes", "bits"), [(3, 24), pytest.param(1, 15, marks=pytest.mark.long)])
def test_comparison_pe(pe, lanes, bits, tmp_path):
    simulate(
        pe,
        "cocotb_bs_compare",
        tmp_path,
        sources=sources_of(pe, "bit_serial_compare.f"),
        environment={"PE": pe},
        Lanes=lanes,
        AccumulatorBits=bits,
    )
