"""A training step as `air train` runs it, and the same step written plainly."""

import torch
from plain import Optimizer
from plain import training_step as plain_step
from sizes import RECIPE

from air.model.network import AIR
from air.training.curve import Averages
from air.training.loop import optimizers
from air.training.step import Carry, training_step


class Ours:
    """The step of air.training.loop, without its data and its log."""

    def __init__(self, model: AIR, carry: Carry, offer: tuple[torch.Tensor, ...]) -> None:
        self.model, self.carry, self.offer = model, carry, offer
        self.optimizers = optimizers(model, RECIPE)
        self.averages = Averages(offer[0].device)
        self.loss = torch.zeros(())

    def __call__(self) -> None:
        self.carry, outcome = training_step(self.model, self.carry, *self.offer)  # type: ignore[arg-type]
        self.loss = outcome.losses[0].detach()
        outcome.losses[0].backward()
        self.averages.add(outcome)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)


class Plain:
    def __init__(self, model: AIR, carry: Carry, offer: tuple[torch.Tensor, ...]) -> None:
        self.model, self.carry, self.offer = model, carry, offer
        self.optimizer = Optimizer(model, RECIPE)
        self.loss = torch.zeros(())

    def __call__(self) -> None:
        self.carry, _, loss = plain_step(self.model, self.carry, *self.offer)
        self.loss = loss.detach()
        loss.backward()
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
