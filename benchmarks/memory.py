"""The memory of a step on a GPU, counted without one.

Meta tensors have a shape and no numbers, so a step of any size runs in a second. Counted is every
storage, from the operator that makes it until it is let go of, while attention is the fused kernel
that a GPU takes. Not counted are the GPU's own share (the CUDA context, the libraries' work space)
and what torch.compile saves: on an H100 a compiled step took 0.81 of the count, in both tasks.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sizes import RECIPE
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.training.config import TrainConfig
from air.training.loop import optimizers
from air.training.step import fresh_carry, training_step

COMPILED = 0.81  # of the count, see above
META = torch.device("meta")


@dataclass(frozen=True)
class StepMemory:
    """Bytes of an uncompiled training step; ``peak`` is the most that lives at once."""

    parameters: int
    gradients: int
    optimiser: int
    mean: int  #: the running mean of the weights, if there is one
    slots: int  #: what the slots hold between two steps
    saved: int  #: by autograd in the forward pass, for the backward pass
    peak: int

    def __str__(self) -> str:
        return (
            f"{_gib(self.peak)} at most, not compiled: {_gib(self.saved)} saved for the gradient; "
            f"parameters {_gib(self.parameters)}, gradients {_gib(self.gradients)}, optimiser "
            f"{_gib(self.optimiser)}, running mean {_gib(self.mean)}, slots {_gib(self.slots)}"
        )


def meta_model(config: ModelConfig, variant: str, vocabulary: int, cells: int) -> AIR:
    """A model in bfloat16 without its numbers."""
    with META:
        return AIR(config, Variant.parse(variant), vocabulary, cells, "bfloat16")


def step_memory(model: AIR, batch: int, recipe: TrainConfig = RECIPE) -> StepMemory:
    """Of a step of ``batch`` slots; ``model`` is on the meta device.

    The second step, which has an optimiser's state and slots that are in use.
    """
    parameters = list(model.parameters())
    with META:
        boards = torch.zeros((batch, model.cells), dtype=torch.int64)
        least = torch.zeros(batch, dtype=torch.int32)
    saved: dict[int, Tensor] = {}  # by storage, held so that no other takes its place
    own = {_storage(p) for p in parameters}

    def pack(x: Tensor) -> Tensor:
        if _storage(x) not in own:
            saved[_storage(x)] = x
        return x

    with _counted([*parameters, *model.buffers()]) as counter:
        both = optimizers(model, recipe)
        carry = fresh_carry(model, boards, boards)
        gradients = saved_bytes = 0
        for _ in range(2):
            with saved_tensors_hooks(pack, lambda x: x):
                carry, outcome = training_step(
                    model, carry, boards, boards, least,
                    gradient=recipe.gradient, q_continue=recipe.q_continue,
                )  # fmt: skip
            saved_bytes = _bytes(saved.values())
            saved.clear()
            outcome.losses[0].backward()
            gradients = _bytes(p.grad for p in parameters if p.grad is not None)
            for optimizer in both:
                optimizer.step()
            model.zero_grad(set_to_none=True)
            del outcome
    state = [x for o in both for of in o.state.values() for x in of.values() if x.is_meta]
    mean = 4 * model.parameter_count if recipe.ema else 0
    return StepMemory(
        parameters=_bytes(parameters),
        gradients=gradients,
        optimiser=_bytes(state),
        mean=mean,
        slots=_bytes(vars(carry).values()),
        saved=saved_bytes,
        peak=counter.peak + mean,
    )


def inference_memory(model: AIR, batch: int) -> int:
    """Bytes at most while ``batch`` boards are evaluated, not compiled."""
    with META:
        boards = torch.zeros((batch, model.cells), dtype=torch.int64)
    with (
        _counted([*model.parameters(), *model.buffers(), boards]) as counter,
        torch.inference_mode(),
        model.weights_held(),
    ):
        x = model.embed(boards)
        z_L, z_H = model.fresh_states(batch)
        for _ in range(2):
            z_L, z_H = model.segment(x, z_L, z_H)
            model.decode(z_H).argmax(dim=-1)
    return counter.peak


class _Fused(TorchFunctionMode):
    """Attention by the kernel that a GPU takes, which keeps no scores."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention(*args)[0]
        return function(*args, **(kwargs or {}))


class _Counter(TorchDispatchMode):
    """Bytes of all storages on the meta device that live now, and the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.living: set[int] = set()

    def add(self, x: Tensor) -> None:
        storage, key = x.untyped_storage(), _storage(x)
        if key not in self.living:
            self.living.add(key)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._gone, key, storage.nbytes())
            self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        self.living.discard(key)
        self.now -= size

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for x in tree_leaves(made):
            if isinstance(x, Tensor) and x.is_meta:
                self.add(x)
        return made


@contextmanager
def _counted(there: Iterable[Tensor]) -> Iterator[_Counter]:
    """Count what the block makes, besides the tensors that are there before."""
    counter = _Counter()
    for x in there:
        counter.add(x)
    with counter, _Fused():
        yield counter


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Of the storages of tensors, each once."""
    return sum({_storage(x): x.untyped_storage().nbytes() for x in tensors}.values())


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
