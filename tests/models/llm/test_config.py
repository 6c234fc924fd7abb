"""Shapes: the zoo against published counts, and what a wrong file says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plait.errors import SpecError
from plait.models.llm import LLMShape, load_shape, shape_names

PUBLISHED = {  # parameters that the model cards state, or that transformers counts
    "gemma-2b": 2_506_172_416,
    "gemma-7b": 8_537_680_896,
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-2-7b": 6_738_415_616,
    "llama-3-70b": 70_553_706_496,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x22b": 140_620_634_112,
    "mixtral-8x7b": 46_702_792_704,
    "opt-1.3b": 1_315_758_080 - 2 * 2048,  # without OPT's two unused positions
    "opt-6.7b": 6_658_473_984 - 2 * 4096,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-72b": 72_706_203_648,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-8b": 8_190_735_360,
    "smollm2-1.7b": 1_711_376_384,
    "smollm2-135m": 134_515_008,
    "tinyllama-1.1b": 1_100_048_384,
    "yi-34b": 34_388_917_248,
    "yi-6b": 6_061_035_520,
}
GOOD = (
    "layers: 2\nhidden: 64\nheads: 4\nkv_heads: 2\nhead_dim: 16\nffn: 96\nvocab: 100\n"
    "max_positions: 128\n"
)


@pytest.mark.parametrize("name", shape_names())
def test_every_zoo_file_loads_and_names_its_source(name: str) -> None:
    shape = load_shape(name)
    assert shape.name == name
    folder = Path(sys.modules[LLMShape.__module__].__file__ or "").parent / "zoo"
    assert (folder / f"{name}.yaml").read_text().startswith("# Source: https://")


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_count(name: str) -> None:
    assert load_shape(name).parameters == PUBLISHED[name]


def test_shapes_load_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from plait.models.llm import load_shape\n"
        "assert load_shape('llama-2-7b').layers == 32"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_yaml_file_and_exponents(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD + "rope_theta: 1e6\nnorm_eps: 1e-6\n")
    shape = load_shape(path)
    assert (shape.name, shape.rope_theta, shape.norm_eps) == ("mine", 1e6, 1e-6)
    assert load_shape(shape) is shape


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("layers: 2\n", ""), "missing layers"),
        (GOOD + "layrs: 3\n", "unknown key 'layrs': did you mean layers"),
        (GOOD + "layers: 3\n", "'layers' is given twice"),
        (GOOD.replace("layers: 2", "layers: 0"), "layers: out of range, got 0"),
        (GOOD.replace("layers: 2", "layers: -2"), "layers: out of range, got -2"),
        (GOOD.replace("layers: 2", "layers: 2.5"), "layers: wrong type, got 2.5, expected int"),
        (GOOD.replace("layers: 2", "layers: two"), "layers: wrong type, got 'two'"),
        (GOOD.replace("layers: 2", "layers: true"), "layers: wrong type, got True"),
        (GOOD.replace("layers: 2", "layers: [2]"), "layers: wrong type, got 'list'"),
        (GOOD.replace("ffn: 96", "ffn: 99999999999999999999"), "ffn: out of range"),
        (GOOD.replace("kv_heads: 2", "kv_heads: 3"), "kv_heads: does not fit, got 3"),
        (GOOD.replace("head_dim: 16", "head_dim: 15"), "head_dim: does not fit"),
        (GOOD + "norm: batch\n", "norm: unknown choice, got 'batch', expected rms_norm"),
        (GOOD + "rope_theta: .inf\n", "rope_theta: out of range"),
        (GOOD + "rope_theta: fast\n", "rope_theta: not a number"),
        (GOOD + "rope_factor: 8\n", "rope_original_positions: does not fit"),
        (GOOD + "experts: 4\n", "experts_active: does not fit"),
        (GOOD + "experts_active: 2\n", "experts_active: does not fit"),
        ("- a\n", "not a mapping"),
        ("a: [\n", "not YAML"),
        ("!!python/object/apply:os.system ['true']\n", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("", "not a mapping"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_shape(path)
    line = str(caught.value)
    assert message in line
    assert line.startswith(str(path))
    assert "\n" not in line


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: b\n" * 400_000])
def test_a_file_that_is_no_shape(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=r"mine\.yaml: (not a text file|larger than 1 MiB)"):
        load_shape(path)


def test_unknown_names_show_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean llama-2-7b"):
        load_shape("llama2-7b")
    with pytest.raises(SpecError, match="cannot be read"):
        load_shape("nowhere.yaml")


def test_changes_are_checked() -> None:
    shape = load_shape("smollm2-135m")
    assert shape.with_(layers=2).parameters < shape.parameters
    with pytest.raises(SpecError, match="kv_heads"):
        shape.with_(kv_heads=2)
    with pytest.raises(SpecError, match="unknown key 'layer'"):
        shape.with_(layer=2)
