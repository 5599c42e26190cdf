"""The two optimisers of the recipe, and the learning rate at a step.

Both skip parameters that received no gradient, weight decay included.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from air.training.config import TrainConfig


class AdamATan2(Optimizer):
    """Adam with atan2 for the division, so that it needs no epsilon (Everett et al. 2024).

    p <- p (1 - lr wd) - lr a atan2(m^, b sqrt(v^)), m^ and v^ bias-corrected as in Adam.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float],
        a: float = 1.27,
        b: float = 1.0,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "a": a, "b": b}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            for p in parameters:
                if not self.state[p]:
                    self.state[p] = {
                        "step": torch.zeros((), dtype=torch.float64),
                        "m": torch.zeros_like(p),
                        "v": torch.zeros_like(p),
                    }
            gradients = [p.grad for p in parameters]
            m = [self.state[p]["m"] for p in parameters]
            v = [self.state[p]["v"] for p in parameters]
            torch._foreach_lerp_(m, gradients, 1 - beta1)
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, gradients, gradients, 1 - beta2)
            torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
            for p, m_p, v_p in zip(parameters, m, v, strict=True):
                state = self.state[p]
                state["step"] += 1
                t = state["step"].item()
                # atan2(m / c1, b sqrt(v / c2)) = atan2(m, b sqrt(v) c1 / sqrt(c2)): c1, c2 > 0
                scale = group["b"] * (1 - beta1**t) / math.sqrt(1 - beta2**t)
                p.add_(torch.atan2(m_p, v_p.sqrt().mul_(scale)), alpha=-lr * group["a"])


class SignSGD(Optimizer):
    """p <- p (1 - lr wd) - lr sign(gradient): the puzzle embedding's optimiser."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(p.grad.sign(), alpha=-group["lr"])


def learning_rate_factor(config: TrainConfig, step: int, steps: int) -> float:
    """Share of the learning rate at ``step`` (from 1) of ``steps``: warm-up, constant or cosine."""
    if step < config.warmup_steps:
        return step / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    return config.lr_final + (1 - config.lr_final) * 0.5 * (1 + math.cos(math.pi * done))
