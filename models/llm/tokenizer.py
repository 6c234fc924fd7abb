"""Tokenizers, as `transformers.PreTrainedTokenizerFast`, from a GGUF header or a `tokenizer.json`.

Takes what the weights' file says about its tokens; gives a tokenizer that asks no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import FormatError

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = ["tokenizer_from_folder", "tokenizer_from_gguf"]

_SPLITS = {  # the published regular expressions of tiktoken-style vocabularies
    name: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    + digits
    + r"| ?[^\s\p{L}\p{N}]+"
    r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for name, digits in {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}.items()
}
_CONTROL = 3  # token type of <|im_start|> and its like


def tokenizer_from_gguf(metadata: dict[str, Any], where: str) -> PreTrainedTokenizerFast | None:
    """Build the byte-level BPE tokenizer of a GGUF file; none if it has one of another kind."""
    pre_tokenizer = _pre_tokenizer(metadata.get("tokenizer.ggml.pre", "default"))
    if metadata.get("tokenizer.ggml.model") != "gpt2" or pre_tokenizer is None:
        return None
    from tokenizers import AddedToken, Tokenizer, decoders, models

    tokens = _texts(metadata, "tokenizer.ggml.tokens", where)
    halves = (pair.partition(" ") for pair in _texts(metadata, "tokenizer.ggml.merges", where))
    merges = [(left, right) for left, _, right in halves]
    vocab = {token: index for index, token in enumerate(tokens)}
    try:
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    except Exception as error:  # the Rust side raises bare Exception
        raise FormatError(f"damaged tokenizer: {error}", where=where) from None
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    types = metadata.get("tokenizer.ggml.token_type", ())
    special = [token for token, kind in zip(tokens, types, strict=False) if kind == _CONTROL]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in special]
    )
    return _wrapped(
        tokenizer,
        chat_template=metadata.get("tokenizer.chat_template"),
        **_named_tokens(metadata, tokens, where),
    )


def tokenizer_from_folder(folder: Path) -> PreTrainedTokenizerFast | None:
    """Load the `tokenizer.json` of a Hugging Face folder; none if there is no such file."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        return _wrapped(Tokenizer.from_file(str(path)))
    except Exception as error:  # the Rust side raises bare Exception
        raise FormatError(f"damaged tokenizer: {error}", where=str(path)) from None


def _wrapped(tokenizer: Any, **named: Any) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def _pre_tokenizer(name: object) -> PreTokenizer | None:
    """Pre-tokenizer of llama.cpp's name, none if we do not know it."""
    from tokenizers import Regex, pre_tokenizers

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name in ("default", "gpt-2"):
        return byte_level
    if name == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, byte_level])
    if name in _SPLITS:
        split = pre_tokenizers.Split(Regex(_SPLITS[str(name)]), "isolated")
        bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([split, bytes_only])
    return None


def _texts(metadata: dict[str, Any], key: str, where: str) -> list[str]:
    texts = metadata.get(key)
    if not isinstance(texts, list) or not texts:
        raise FormatError("missing or no list of texts", where=f"{where}: {key}")
    return texts


def _named_tokens(metadata: dict[str, Any], tokens: list[str], where: str) -> dict[str, str]:
    """Text of the tokens with a role, by the name that transformers has for the role."""
    roles = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    named = {}
    for role, short in roles.items():
        key = f"tokenizer.ggml.{role}_token_id"
        index = metadata.get(key)
        if index is None:
            continue
        if not isinstance(index, int) or not 0 <= index < len(tokens):
            raise FormatError("no token of the vocabulary", where=f"{where}: {key}", got=index)
        named[f"{short}_token"] = tokens[index]
    return named
