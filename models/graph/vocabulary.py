"""The ops of torch.export programs that are understood, by what they do to an activation.

An op that is in none of these tables is a `GraphError` that names it: nothing is dropped because
it is unknown. Names are without overload and in-place underscore.
"""

from __future__ import annotations

__all__ = [
    "ACTIVATION",
    "BOOKKEEPING",
    "CREATION",
    "ELEMENTWISE",
    "MATMUL",
    "MOVEMENT",
    "NORM",
    "RECOGNISED",
    "REDUCTION",
    "is_known",
]


def _aten(names: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" for name in names.split())


MOVEMENT = _aten(
    "alias as_strided cat chunk clone contiguous copy detach detach_ dropout expand expand_as "
    "feature_dropout flatten index index_copy index_put index_select lift_fresh lift_fresh_copy "
    "mT matrix_H movedim narrow numpy_T permute repeat repeat_interleave reshape resolve_conj "
    "select select_scatter slice slice_scatter split split_with_sizes squeeze stack swapaxes "
    "swapdims t to _to_copy transpose type_as unbind unflatten unsqueeze view view_as "
    "view_as_complex view_as_real _unsafe_view _reshape_alias roll flip gather"
) | {"getitem"}
"""Views, casts, copies, joins, choice of rows: no new numbers (dropout is off in inference)."""

CREATION = _aten(
    "arange empty empty_like empty_permuted eye full full_like new_empty new_full new_ones "
    "new_zeros ones ones_like scalar_tensor zeros zeros_like linspace"
)
"""Tensors that depend on no activation."""

BOOKKEEPING = _aten(
    "__and__ __or__ __xor__ _assert_scalar _assert_tensor_metadata argmax argsort "
    "bincount bitwise_and bitwise_not bitwise_or bitwise_xor cumsum diff eq floor_divide ge gt "
    "histc is_nonzero isin item le logical_and logical_not logical_or lt max ne nonzero one_hot "
    "remainder scatter searchsorted sort sym_constrain_range_for_size sym_size tril triu any all "
    "unique outer masked_fill where bucketize log floor _assert_async polar complex ceil round sign"
)
"""Positions, masks and the choice of experts. Not understood when done to an activation, save the
ones that are also in another table."""

ELEMENTWISE = _aten(
    "abs add clamp clamp_max clamp_min cos div exp log masked_fill maximum minimum mul neg "
    "pow reciprocal rsqrt rsub sin sqrt square sub where"
)

ACTIVATION = _aten(
    "elu erf gelu hardsigmoid hardswish hardtanh leaky_relu mish relu relu6 selu sigmoid silu "
    "softplus softsign tanh"
)

NORM = _aten("layer_norm native_layer_norm rms_norm _fused_rms_norm")

REDUCTION = _aten("mean sum var softmax _softmax var_mean amax linalg_vector_norm")
"""Understood as parts of a norm, of attention, of a router, or as the sum over experts."""

MATMUL = _aten("addmm baddbmm bmm einsum linear matmul mm")

RECOGNISED = _aten("embedding scaled_dot_product_attention topk _grouped_mm") | {
    "input",
    "parameter",
    "buffer",
    "plait.activation",
    "plait.attention",
    "plait.experts",
    "plait.forget_bounds",
    "plait.gated_scan",
    "plait.grouped_linear",
    "plait.norm",
    "plait.qgrouped_linear",
    "plait.qlinear",
    "plait.quantise_tokens",
    "plait.rope",
    "plait.ternary_linear",
    "plait.topk",
    "transformers.grouped_mm_fallback",
}

_TABLES = (
    MOVEMENT,
    CREATION,
    BOOKKEEPING,
    ELEMENTWISE,
    ACTIVATION,
    NORM,
    REDUCTION,
    MATMUL,
    RECOGNISED,
)


def is_known(target: str) -> bool:
    """Whether an op is in one of the tables.

    >>> is_known("aten.linear"), is_known("aten.fft_fft")
    (True, False)
    """
    return any(target in table for table in _TABLES)
