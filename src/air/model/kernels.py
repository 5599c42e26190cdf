"""The two products that cost the time, on what computes them fastest.

Each is one formula with several implementations; which one runs follows from device, precision,
shape and whether gradients may be asked for, never from a measurement, so that a run repeats
itself. What they gain: `benchmarks/train_step.py` and `benchmarks/public_models.py`.

Products in bfloat16 take their factors in that precision, add up in float32 and round the sum.
Where a CPU has no instructions for them (on x86, none without AVX512), PyTorch does so one number
at a time, at a fifteenth of the speed of float32. There the factors are widened first, which
loses nothing, and the product is float32's, rounded: the same but for the order of the sums.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Explicit attention holds all scores: at most so many, and in float32 only for so few positions.
MOST_SCORES = 2**27
MOST_POSITIONS = 50

# Without gradients: scores of so many heads at once as stay in a CPU's cache.
CACHED_SCORES = 2**20
# Smaller weights are not packed, to which it would bring nothing.
LEAST_PACKED = 2**16

_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
# Whether products in bfloat16 are fast on this CPU, as PyTorch itself asks.
_BFLOAT16 = (
    _ONEDNN
    and hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    and torch.ops.mkldnn._is_mkldnn_bf16_supported()
)
_PACKS = _BFLOAT16 and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def widens(x: Tensor) -> bool:
    """Whether products with ``x`` are computed in float32 and rounded: bfloat16, slow CPU."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not _BFLOAT16


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T: [..., in], [out, in] -> [..., out].

    For float32 on a CPU by oneDNN: the library that PyTorch asks otherwise (MKL) leaves half the
    width of the vector units of AMD's processors unused. ``weight`` may be :func:`packed`.
    """
    if weight.is_mkldnn:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        return found
    on_onednn = _ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu"
    if on_onednn or widens(x):
        product: Tensor = _Linear.apply(x, weight)  # type: ignore[no-untyped-call]
        return product
    return F.linear(x, weight)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        return torch.ops.air.linear(x, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        rows, x_rows = gradient.reshape(-1, gradient.shape[-1]), x.reshape(-1, x.shape[-1])
        return (
            torch.ops.air.linear(gradient, weight.t()),
            torch.ops.air.linear(rows.t(), x_rows.t()),
        )


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """a b, [..., n, k] and [..., k, m] -> [..., n, m]."""
    if widens(a):
        product: Tensor = _Matmul.apply(a, b)  # type: ignore[no-untyped-call]
        return product
    return torch.matmul(a, b)


class _Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(a, b)
        return torch.ops.air.matmul(a, b)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        a, b = ctx.saved_tensors
        return (
            torch.ops.air.matmul(gradient, b.transpose(-1, -2)),
            torch.ops.air.matmul(a.transpose(-1, -2), gradient),
        )


# Operators of their own, because the compiler takes oneDNN's for one with constant weights, and
# leaves out a rounding to bfloat16 that float32 follows.
_library = torch.library.Library("air", "DEF")
_library.define("linear(Tensor x, Tensor weight) -> Tensor")
_library.define("matmul(Tensor a, Tensor b) -> Tensor")


@torch.library.impl(_library, "linear", "CPU")
def _linear_cpu(x: Tensor, weight: Tensor) -> Tensor:
    if x.dtype == torch.bfloat16:
        return _linear_cpu(x.float(), weight.float()).bfloat16()
    if not _ONEDNN:
        return F.linear(x, weight)
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


@torch.library.impl(_library, "linear", "Meta")
def _linear_meta(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.impl(_library, "matmul", "CPU")
def _matmul_cpu(a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a.float(), b.float()).bfloat16()


@torch.library.impl(_library, "matmul", "Meta")
def _matmul_meta(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(*a.shape[:-1], b.shape[-1])


def eager_inference() -> bool:
    """Whether what is computed now is neither compiled nor ever asked for a gradient."""
    # in this order: the compiler cannot trace the second question, and need not come to it
    return not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()


def packs(weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether a weight [out, in] of products in ``dtype`` is to be packed: large, bfloat16, CPU."""
    here = _PACKS and dtype == torch.bfloat16 and weight.device.type == "cpu"
    return here and weight.numel() >= LEAST_PACKED


def packed(weight: Tensor) -> Tensor:
    """A weight [out, in] in bfloat16, in the order in which oneDNN reads it.

    A product has the same bits with it, and need not reorder it first. No gradient goes through.
    """
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(
        weight.to(torch.bfloat16).contiguous(), None
    )
    return reordered


def gated(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """silu(x gate^T) * (x up^T) with two packed weights, rounded twice instead of four times."""
    product = torch.ops.mkldnn._linear_pointwise
    opened: Tensor = product(x, gate, None, "swish", [], "")
    found: Tensor = product.binary(x, opened, up, None, "mul")
    return found


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head size)) v, all [B, heads, P, head size], no mask.

    PyTorch's fused kernel, except on a CPU in bfloat16 (its gradient takes several times as long
    there) and for few positions in float32.
    """
    batch, heads, positions, size = q.shape
    if (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and positions >= MOST_POSITIONS
        and eager_inference()
    ):
        return _attention_in_cache(q, k, v)
    few = q.dtype == torch.bfloat16 or positions < MOST_POSITIONS
    if q.device.type == "cpu" and few and batch * heads * positions**2 <= MOST_SCORES:
        scores = _matmul(q * size**-0.5, k.transpose(-1, -2))
        return _matmul(scores.softmax(dim=-1), v)
    return F.scaled_dot_product_attention(q, k, v)


def _attention_in_cache(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same in steps of a few heads, whose scores are used while the cache still has them."""
    shape, positions, size = q.shape, q.shape[2], q.shape[3]
    q, k, v = (t.reshape(-1, positions, size) for t in (q * size**-0.5, k, v))
    mixed = torch.empty_like(v)
    step = max(CACHED_SCORES // positions**2, 1)
    for start in range(0, len(q), step):
        heads = slice(start, start + step)
        shares = _matmul(q[heads], k[heads].transpose(1, 2)).softmax(dim=-1)
        mixed[heads] = _matmul(shares, v[heads])
    return mixed.view(shape)
