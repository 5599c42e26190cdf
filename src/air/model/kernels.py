"""The two products that cost the time, on what computes them fastest.

Each is one formula with two renderings; which one runs follows from device, precision and shape
alone, never from a measurement, so that a run repeats itself. What they gain:
`benchmarks/train_step.py`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Explicit attention holds all scores: at most so many, and in float32 only for so few positions.
MOST_SCORES = 2**27
MOST_POSITIONS = 50

_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T: [..., in], [out, in] -> [..., out].

    For float32 on a CPU by oneDNN: the library that PyTorch asks otherwise (MKL) leaves half the
    width of the vector units of AMD's processors unused.
    """
    if _ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu":
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


# An operator of its own, because the compiler takes oneDNN's for one with constant weights.
_library = torch.library.Library("air", "DEF")
_library.define("linear(Tensor x, Tensor weight) -> Tensor")


@torch.library.impl(_library, "linear", "CPU")
def _linear_cpu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


@torch.library.impl(_library, "linear", "Meta")
def _linear_meta(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head size)) v, all [B, heads, P, head size], no mask.

    PyTorch's fused kernel, except on a CPU in bfloat16 (its gradient takes several times as long
    there) and for few positions in float32.
    """
    batch, heads, positions, size = q.shape
    few = q.dtype == torch.bfloat16 or positions < MOST_POSITIONS
    if q.device.type == "cpu" and few and batch * heads * positions**2 <= MOST_SCORES:
        scores = torch.matmul(q * size**-0.5, k.transpose(-1, -2))
        return torch.matmul(scores.softmax(dim=-1), v)
    return F.scaled_dot_product_attention(q, k, v)
