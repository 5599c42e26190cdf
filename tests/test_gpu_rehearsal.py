"""What a GPU would be asked to do, at the paper's size, without one: shapes, devices and waiting.

Fake tensors have a device and a shape and no numbers. On the device "cuda" they refuse what needs
a number (a value, a mask as an index, a truth value) and what mixes devices, so what runs here does
neither on a GPU. What is read back on purpose is counted, by the function that reads it.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from memory import COMPILED, StepMemory, meta_model, step_memory
from sizes import RECIPE, SIZES
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode

from air import probes
from air.evaluation.accuracy import evaluate
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import PAPER_VARIANTS, Variant
from air.probes.decoding import CPU
from air.tasks.maze import FREE, GOAL, START, Maze
from air.tasks.sudoku import Sudoku
from air.tasks.task import Puzzles, Task
from air.training.config import TrainConfig
from air.training.curve import Averages
from air.training.loop import Run, train
from air.training.step import fresh_carry, training_step
from tests.conftest import ROOT

GPU = torch.device("cuda", 0)
BATCH = 768
TASKS: dict[str, Task] = {"sudoku": Sudoku(3, 3), "maze": Maze(30)}
# All of the paper's sizes, but for the number of segments, which are alike; so are layers, of which
# the fast tests take one, and slow ones all, for all variants.
CASES = [
    *((variant, 1) for variant in ("hrm", "level_token_prepend_no_strip")),
    *(pytest.param(variant, 4, marks=pytest.mark.slow) for variant in PAPER_VARIANTS),
]


def at(x: Tensor, index: Any) -> Tensor:
    """``x[index]`` by operators: PyTorch's own indexing wants to switch to the GPU."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in (item for item in items if not isinstance(item, Tensor)):
        place = next(i for i, item in enumerate(items) if item is Ellipsis)
        taken = sum(item is not None for item in items) - 1
        items[place : place + 1] = [slice(None)] * (x.dim() - taken)
    dim = 0
    chosen: list[Tensor | None] = []
    for item in items:
        if item is None:
            x = x.unsqueeze(dim)
        elif isinstance(item, Tensor):
            if item.dtype == torch.bool:
                torch.ops.aten.nonzero(item)  # which a GPU must count: refused
            chosen += [None] * (dim - len(chosen)) + [item]
        elif isinstance(item, slice):
            x = torch.ops.aten.slice(x, dim, item.start, item.stop, item.step or 1)
        else:
            x = x.select(dim, item)
            continue
        dim += 1
    return torch.ops.aten.index(x, chosen) if chosen else x


def boards(task: Task, number: int) -> Puzzles:
    """Questions of which every cell but two is asked for, each with any answer."""
    inputs = np.full((number, task.cells), FREE if isinstance(task, Maze) else 1, dtype=np.uint8)
    inputs[:, 0], inputs[:, 1] = (START, GOAL) if isinstance(task, Maze) else (2, 3)
    return Puzzles(task, inputs, np.where(inputs == 1, 4, inputs).astype(np.uint8), 0)


class Reads(TorchFunctionMode):
    """Counts what is read from the GPU, by the function that asks; the numbers are zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.by: Counter[str] = Counter()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        x = args[0] if args else None
        name = getattr(function, "__name__", "")
        if isinstance(x, FakeTensor):
            if name == "__getitem__":
                return at(x, args[1])
            if name == "__setitem__":
                return at(x, args[1]).add(args[2])  # devices and shapes must fit; nothing changes
            if name == "__invert__":
                return torch.bitwise_not(x)
            if name == "nonzero":
                return torch.ops.aten.nonzero(x)
            if name in ("cpu", "__int__") and x.device.type == "cuda":
                self.by[sys._getframe(1).f_code.co_name] += 1
                with unset_fake_temporarily():
                    zeros = torch.zeros(x.shape, dtype=x.dtype)
                return zeros if name == "cpu" else 0
        elif isinstance(x, Tensor) and name in ("numpy", "__array__"):
            with unset_fake_temporarily():
                return function(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


@contextmanager
def rehearsal(task: Task, variant: str, layers: int = 1) -> Iterator[tuple[AIR, Counter[str]]]:
    """A model of the paper's size on a GPU that is not there, and what is read from that."""
    with torch.device("meta"):  # which has no numbers either
        config = ModelConfig(layers=layers, max_segments=2)
        model = AIR(config, Variant.parse(variant), len(task.vocabulary), task.cells, "bfloat16")
    with FakeTensorMode(allow_non_fake_inputs=True), Reads() as reads, torch.no_grad():
        for module in model.modules():
            for name, weight in module._parameters.items():
                if weight is not None:
                    fake = torch.empty(weight.shape, dtype=weight.dtype, device=GPU)
                    module._parameters[name] = nn.Parameter(fake, requires_grad=False)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    fake = torch.empty(buffer.shape, dtype=buffer.dtype, device=GPU)
                    module._buffers[name] = fake
        model.to = lambda device: model  # type: ignore[assignment,method-assign]
        yield model, reads.by


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "a value": lambda x: x[0, 0].item(),
    "values": lambda x: x[0].tolist(),
    "a truth value": lambda x: bool((x == 0).all()),
    "where": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "an array": lambda x: x.numpy(),
    "another device": lambda x: x + torch.zeros(x.shape),
    "another device, written": lambda x: x.__setitem__(0, torch.zeros(x.shape[1])),
}


@pytest.mark.parametrize("asked", REFUSED)
def test_the_rehearsal_refuses(asked: str) -> None:
    with rehearsal(TASKS["sudoku"], "Lx_H"):
        x = torch.zeros((3, 4), device=GPU)
        assert (x[1:, None] * 2 + x[0])[..., 1].shape == (2, 1)
        with pytest.raises(Exception) as caught:  # of several kinds
            REFUSED[asked](x)
    refusal = f"{type(caught.value).__name__}: {caught.value}"
    assert re.search(r"DataDependent|DynamicOutputShape|DeviceMismatch|numpy", refusal), refusal


@pytest.mark.parametrize(("variant", "layers"), CASES)
@pytest.mark.parametrize("task", TASKS)
def test_a_training_step_never_waits_for_the_gpu(task: str, variant: str, layers: int) -> None:
    """Forward only: autograd takes no graph for a device that PyTorch was built without."""
    with rehearsal(TASKS[task], variant, layers) as (model, reads):
        tokens = torch.zeros((BATCH, TASKS[task].cells), dtype=torch.int64, device=GPU)
        least = torch.zeros(BATCH, dtype=torch.int32, device=GPU)
        carry = fresh_carry(model, tokens, tokens)
        averages = Averages(GPU)
        for _ in range(2):  # with fresh states, and with those that were left
            carry, outcome = training_step(model, carry, tokens, tokens, least)
            averages.add(outcome)
        state = (BATCH, model.lead + model.cells, 512)
        assert carry.z_L.shape == carry.z_H.shape == state
        assert carry.z_H.dtype == torch.bfloat16
        assert {t.device for t in (*vars(carry).values(), *vars(outcome).values())} == {GPU}
        assert not reads


@pytest.mark.parametrize(("variant", "layers"), CASES)
@pytest.mark.parametrize("task", TASKS)
def test_what_is_measured_is_read_where_it_is_meant_to_be(
    task: str, variant: str, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits inside the model; a probe reads its measures after a segment or a batch.

    On the CPU on purpose: means and intervals over puzzles (numpy), and the violations of a task,
    whose rules are numpy's; so an attention probe reads a board after every segment looked at.
    """
    monkeypatch.setattr("air.probes.decoding.peak_memory", lambda device: 0.0)
    puzzles = boards(TASKS[task], 5)
    with rehearsal(TASKS[task], variant, layers) as (model, reads):
        evaluate(model, puzzles, 2, GPU, silent=True)
        assert reads == {"evaluate": 2}  # at the end, however many batches there are
        reads.clear()
        probes.rollout(model, puzzles, device=GPU)
        assert set(reads) == {"rollout", "add", "_count", "_share"}
        reads.clear()
        probes.freeze(model, puzzles, device=GPU, later=(1,))
        assert set(reads) == {"add"}
        reads.clear()
        probes.attention(model, puzzles, [0, 1], device=GPU)
        assert set(reads) == {"captures_of", "after", "_stacked"}
        assert reads["captures_of"] == 2  # the boards, once a batch


def counted(size: str, slots: int, variant: str = "Lx_H", **recipe: Any) -> StepMemory:
    config, vocabulary, cells, _ = SIZES[size]
    model = meta_model(config, variant, vocabulary, cells)
    return step_memory(model, slots, RECIPE.model_copy(update=recipe))


def measured(row: str) -> float:
    """Bytes on an H100: the memory in a row of docs/training.md, Speed."""
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {row}.* ([\d.]+) GiB \|$", text, re.MULTILINE)
    assert found, row
    return float(found[1]) * 2**30


def test_the_memory_counted_is_that_of_a_gpu() -> None:
    sudoku, maze = counted("paper", 768), counted("maze", 96)
    assert sudoku.peak == pytest.approx(measured("ours, eager"), rel=0.02)
    assert COMPILED * sudoku.peak == pytest.approx(measured("ours, compiled"), rel=0.02)
    assert COMPILED * maze.peak == pytest.approx(measured("a step of 96 mazes"), rel=0.02)
    # another step takes another memory, and the bounds tell
    for of in (counted("paper", 768, gradient="last_cycle"), counted("paper", 800)):
        assert of.peak != pytest.approx(measured("ours, eager"), rel=0.02)


@pytest.mark.parametrize(
    "variants",
    [
        ("hrm", "level_token_prepend_no_strip"),
        pytest.param(tuple(PAPER_VARIANTS), marks=pytest.mark.slow),
    ],
    ids=["largest", "all"],
)
@pytest.mark.parametrize(("size", "slots"), [("paper", 768), ("maze", 96)])
def test_the_memory_of_the_largest_step(size: str, slots: int, variants: tuple[str, ...]) -> None:
    """Of all variants, with a running mean; what it consists of is printed (pytest -s)."""
    usual = counted(size, slots).peak
    found = {variant: counted(size, slots, variant, ema=0.999) for variant in variants}
    largest = max(found, key=lambda variant: found[variant].peak)
    print(f"\n{size} size, {slots} slots, {largest}: {found[largest]}")
    assert largest == "hrm"  # whose two networks have twice the parameters
    of = found[largest]
    assert of.mean == of.parameters == of.gradients
    assert of.optimiser == pytest.approx(2 * of.parameters, rel=1e-3)  # none of one embedding
    kept = of.parameters + of.gradients + of.optimiser + of.mean + of.slots + of.saved
    assert kept < of.peak < 1.12 * kept  # the rest: what an update of the look ahead makes
    assert usual < of.peak < 1.03 * usual


@pytest.mark.parametrize("variant", ["Lx_H", "hrm", "level_token_prepend"])
def test_f_is_two_graphs_without_a_break(
    variant: str,
    tmp_path: Path,
    small_model: ModelConfig,
    sudokus: tuple[Puzzles, Puzzles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted by the compiler over a training with refills, and an evaluation's last, short batch.

    ``fullgraph`` makes a break an error; the backend that only runs the graphs saves a minute.
    """
    compile_ = nn.Module.compile

    def traced(module: nn.Module, **options: Any) -> None:
        compile_(module, backend="eager", fullgraph=True, **options)

    monkeypatch.setattr(nn.Module, "compile", traced)
    torch._dynamo.reset()
    counters.clear()
    train_set, test_set = sudokus
    config = TrainConfig(steps=12, batch_size=6, warmup_steps=2, log_every=4, exploration=0.5)
    run = Run(small_model, Variant.parse(variant), config, "float32", 0)
    model, rows = train(run, train_set, CPU, tmp_path, compiled=True)
    assert any(row["mean_segments"] > 0 for row in rows), "no slot was refilled"
    assert (
        counters["stats"]["unique_graphs"] == 2
    )  # with a gradient, and without; hrm's networks share them
    assert not counters["graph_break"]

    torch._dynamo.reset()
    counters.clear()
    evaluate(model, test_set, 8, CPU, compiled=True, silent=True)  # 20 puzzles: 8, 8, 4
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
