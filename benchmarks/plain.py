"""The same model, step and rollout written plainly: what the benchmarks compare against.

Eager and uncompiled: float32 weights cast at every use, norms and rotations written out, PyTorch's
fused attention, an optimiser that goes through the parameters one by one. It takes its weights from
an `AIR` of variant Lx_H; `train_step.py` checks first that both compute the same losses.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from air.model.network import AIR
from air.training.config import TrainConfig
from air.training.step import Carry, stablemax_cross_entropy


def linear(x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x, weight.to(x.dtype))


def rms_norm(x: Tensor) -> Tensor:
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)
    return wide.to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide, half = x.to(cos.dtype), x.shape[-1] // 2
    turned = torch.cat((-wide[..., half:], wide[..., :half]), dim=-1)
    return (wide * cos.unsqueeze(-2) + turned * sin.unsqueeze(-2)).to(x.dtype)


def f(model: AIR, h: Tensor, seen: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
    """All blocks: h [B, P, d] -> [B, P, d]; ``seen`` receives each layer's queries and keys."""
    heads = model.config.heads
    for block in model.stacks[0].blocks:  # type: ignore[union-attr]
        batch, positions, d = h.shape
        qkv = linear(h, block.attention.qkv.weight).view(batch, positions, 3 * heads, d // heads)
        q, k, v = qkv[:, :, :heads], qkv[:, :, heads : 2 * heads], qkv[:, :, 2 * heads :]
        if model.config.positions != "learned":
            q, k = rotate(q, model.cos, model.sin), rotate(k, model.cos, model.sin)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if seen is not None:
            seen.append((q, k))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        out = linear(mixed.reshape(batch, positions, d), block.attention.out.weight)
        h = rms_norm(h + out)
        gate, up = linear(h, block.swiglu.gate_up.weight).chunk(2, dim=-1)
        h = rms_norm(h + linear(F.silu(gate) * up, block.swiglu.down.weight))
    return h


def segment(model: AIR, x: Tensor, z_L: Tensor, z_H: Tensor) -> tuple[Tensor, Tensor]:
    """Lx_H with the one-step gradient."""
    config = model.config
    with torch.no_grad():
        for H_cycle in range(config.H_cycles):
            last_H = H_cycle == config.H_cycles - 1
            for L_cycle in range(config.L_cycles):
                if not (last_H and L_cycle == config.L_cycles - 1):
                    z_L = f(model, z_L + (z_H + x))
            if not last_H:
                z_H = f(model, z_H + z_L)
    z_L = f(model, z_L + (z_H + x))
    return z_L, f(model, z_H + z_L)


def heads(model: AIR, z_H: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q = F.linear(
        z_H[:, 0], model.q_head.weight.to(z_H.dtype), model.q_head.bias.to(z_H.dtype)
    ).float()
    return linear(z_H[:, 1:], model.lm_head.weight), q[:, 0], q[:, 1]


def training_step(
    model: AIR, carry: Carry, inputs: Tensor, labels: Tensor, least: Tensor
) -> tuple[Carry, dict[str, float], Tensor]:
    """One step without the update: the new carry, metrics fetched at once, and the loss."""
    start_L, start_H = model.fresh_states(len(inputs))
    flag = carry.halted
    z_L = torch.where(flag.view(-1, 1, 1), start_L, carry.z_L)
    z_H = torch.where(flag.view(-1, 1, 1), start_H, carry.z_H)
    inputs = torch.where(flag[:, None], inputs, carry.inputs)
    labels = torch.where(flag[:, None], labels, carry.labels)
    steps = torch.where(flag, 0, carry.steps) + 1
    x = model.embed(inputs)
    z_L, z_H = segment(model, x, z_L, z_H)
    logits, q_halt, q_continue = heads(model, z_H)
    with torch.no_grad():
        at_limit = steps >= model.config.max_segments
        halted = (at_limit | (q_halt > q_continue)) & (steps >= least)
        _, next_halt, next_continue = heads(model, segment(model, x, z_L, z_H)[1])
        target = torch.sigmoid(
            torch.where(at_limit, next_halt, torch.maximum(next_halt, next_continue))
        )
        mask = labels != -100
        counts = mask.sum(-1)
        right = mask & (logits.argmax(-1) == labels)
        solved = right.sum(-1) == counts
    cells = counts.clamp_min(1).unsqueeze(-1)
    lm = (stablemax_cross_entropy(logits, labels) / cells).sum()
    halt = F.binary_cross_entropy_with_logits(q_halt, solved.float(), reduction="sum")
    go_on = F.binary_cross_entropy_with_logits(q_continue, target, reduction="sum")
    loss = (lm + 0.5 * (halt + go_on)) / len(inputs)
    metrics = {"lm": lm.item(), "exact": solved.float().mean().item()}
    after = Carry(z_L.detach(), z_H.detach(), inputs, labels, steps, halted)
    return after, metrics, loss


class Optimizer:
    """AdamATan2 and the puzzle embedding's SignSGD, parameter by parameter."""

    def __init__(self, model: AIR, config: TrainConfig) -> None:
        self.model, self.config, self.step_count = model, config, 0
        self.m = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
        self.v = {n: torch.zeros_like(p) for n, p in model.named_parameters()}

    @torch.no_grad()
    def step(self) -> None:
        self.step_count += 1
        config, t = self.config, self.step_count
        beta1, beta2 = config.betas
        for name, p in self.model.named_parameters():
            if p.grad is None:
                continue
            p.mul_(1 - config.lr * config.weight_decay)
            if name == "puzzle_embedding":
                p.add_(torch.sign(p.grad), alpha=-config.puzzle_lr)
                continue
            m, v = self.m[name], self.v[name]
            m.mul_(beta1).add_(p.grad, alpha=1 - beta1)
            v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
            p.add_(torch.atan2(m_hat, v_hat.sqrt()), alpha=-1.27 * config.lr)


@torch.inference_mode()
def rollout(model: AIR, inputs: Tensor, labels: Tensor) -> int:
    """Boards solved after all segments."""
    x = model.embed(inputs)
    z_L, z_H = model.fresh_states(len(inputs))
    for _ in range(model.config.max_segments):
        z_L, z_H = segment(model, x, z_L, z_H)
        right = (heads(model, z_H)[0].argmax(-1) == labels).all(-1).sum().item()
    return int(right)
