"""The Transformer block of AIR: post-norm, RoPE, SwiGLU, no biases, no norm gains::

    h = rms(h + attention(h));   h = rms(h + swiglu(h))

With ``mixing: mlp`` the first step is TRM's instead, on h transposed to [B, d, P]: a SwiGLU over
the positions, and a norm over them.

Weights are kept in float32 (float64 in float64 runs) and cast to the activations' dtype on use, or
once for many uses: :func:`hold`.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from air.model import kernels
from air.model.config import ModelConfig

# Called per layer with (layer, queries, keys): both [B, heads, positions, head size], after RoPE.
AttentionHook = Callable[[int, Tensor, Tensor], None]

ROPE_BASE = 10_000.0
# A standard normal cut at +-2 has this standard deviation.
_CUT_NORMAL_STD = 0.87962566103423978


def truncated_normal(*shape: int, std: float, generator: torch.Generator) -> Tensor:
    """Normal cut at two standard deviations and rescaled so that the result's std is ``std``."""
    std = std / _CUT_NORMAL_STD
    weight = torch.empty(*shape)
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)


def widen(x: Tensor) -> Tensor:
    """``x`` in float32, or float64 if it is that: the precision of norms and of the q logits."""
    return x if x.dtype == torch.float64 else x.float()


def rms_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + 1e-5) over the last dimension, computed in float32 at least."""
    return F.rms_norm(widen(x), x.shape[-1:], eps=1e-5).to(x.dtype)


class Linear(nn.Module):
    """y = x W^T, W [out, in] drawn with std 1/sqrt(in)."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            truncated_normal(outputs, inputs, std=inputs**-0.5, generator=generator)
        )
        self.held: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        if self.held is not None and not torch.is_grad_enabled():
            return kernels.linear(x, self.held)
        return kernels.linear(x, self.weight.to(x.dtype))


def rope_tables(positions: int, head_size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [positions, head size] of rotary embedding (Su et al. 2021), in halves."""
    if torch.get_default_device().type == "meta":  # of arange it would import TorchDynamo, in 1.5 s
        shape = torch.empty(positions, head_size, dtype=dtype)
        return shape, shape
    exponent = torch.arange(0, head_size, 2, dtype=dtype) / head_size
    angle = torch.outer(torch.arange(positions, dtype=dtype), ROPE_BASE**-exponent)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply RoPE to x [B, positions, heads, head size]; cos, sin [positions, head size]."""
    half = x.shape[-1] // 2
    if kernels.eager_inference():  # the same sums in fewer passes over memory
        wide = widen(x)
        across, along = wide * sin[:, None], wide * cos[:, None]
        along[..., :half] -= across[..., half:]
        along[..., half:] += across[..., :half]
        return along.to(x.dtype)
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return (x * cos[:, None] + turned * sin[:, None]).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention over all positions: no mask, scores scaled by 1/sqrt(head size)."""

    def __init__(self, config: ModelConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size, generator)
        self.out = Linear(config.hidden_size, config.hidden_size, generator)

    def forward(
        self,
        h: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        hook: Callable[[Tensor, Tensor], None] | None = None,
    ) -> Tensor:
        """h [B, P, d] -> [B, P, d]; ``hook`` sees the queries and keys."""
        batch, positions, d = h.shape
        q, k, v = self.qkv(h).view(batch, positions, 3, self.heads, d // self.heads).unbind(2)
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if hook is not None:
            hook(q, k)
        mixed = kernels.attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, positions, d))


class SwiGLU(nn.Module):
    """down(silu(gate(h)) * up(h)), gate and up in one matrix (Shazeer 2020)."""

    def __init__(self, width: int, inner: int, generator: torch.Generator) -> None:
        super().__init__()
        self.gate_up = Linear(width, 2 * inner, generator)
        self.down = Linear(inner, width, generator)
        self.held: tuple[Tensor, Tensor] | None = None

    def forward(self, h: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        if self.held is not None and not torch.is_grad_enabled():
            return self.down(kernels.gated(h, *self.held))
        gate, up = self.gate_up(h).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """h = rms(h + attention(h)), or the same by an MLP over P positions; h = rms(h + swiglu(h))."""

    def __init__(self, config: ModelConfig, positions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.attention: Attention | None = None
        if config.mixing == "attention":
            self.attention = Attention(config, generator)
        else:
            self.mlp = SwiGLU(positions, config.inner_size(positions), generator)
        d = config.hidden_size
        self.swiglu = SwiGLU(d, config.inner_size(d), generator)

    def forward(
        self,
        h: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        hook: Callable[[Tensor, Tensor], None] | None = None,
    ) -> Tensor:
        """[B, P, d] -> [B, P, d]; without attention, ``rope`` and ``hook`` are not used."""
        if self.attention is not None:
            h = rms_norm(h + self.attention(h, rope, hook))
        else:
            # laid out anew: of a transposed operand, PyTorch multiplies puzzle by puzzle
            across = h.transpose(1, 2).contiguous()  # [B, d, P]
            h = rms_norm(across + self.mlp(across)).transpose(1, 2).contiguous()
        return rms_norm(h + self.swiglu(h))


class Transformer(nn.Module):
    """f: the stack of blocks that both updates share (or one of HRM's two)."""

    def __init__(self, config: ModelConfig, positions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config, positions, generator) for _ in range(config.layers)
        )

    def forward(
        self, h: Tensor, rope: tuple[Tensor, Tensor] | None, hook: AttentionHook | None = None
    ) -> Tensor:
        """[B, P, d] -> [B, P, d]."""
        for layer, block in enumerate(self.blocks):
            h = block(h, rope, hook and partial(hook, layer))
        return h


@torch.no_grad()
def hold(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of all products in ``module`` once, and pack them where that pays.

    They are used instead of the weights wherever no gradient is asked for, until :func:`release`:
    so the weights must not change before it.
    """
    in_halves = set()
    for part in module.modules():  # a SwiGLU before its products
        if isinstance(part, SwiGLU) and kernels.packs(part.gate_up.weight, dtype):
            gate, up = part.gate_up.weight.chunk(2)
            part.held = kernels.packed(gate), kernels.packed(up)
            in_halves.add(part.gate_up)
        elif isinstance(part, Linear) and part not in in_halves:
            pack = kernels.packs(part.weight, dtype)
            part.held = kernels.packed(part.weight) if pack else part.weight.to(dtype)


def release(module: nn.Module) -> None:
    """Let go of what :func:`hold` has made."""
    for part in module.modules():
        if isinstance(part, Linear | SwiGLU):
            part.held = None
