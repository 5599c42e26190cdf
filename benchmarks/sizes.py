"""What the benchmarks have in common: sizes, a timer that takes turns, what the machine can do."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch

from air.model.config import ModelConfig
from air.model.network import AIR, Precision
from air.model.variants import Variant
from air.tasks.maze import Maze
from air.tasks.sudoku import Sudoku
from air.tasks.task import Task
from air.training.config import TrainConfig

# (model, vocabulary, cells, batch size)
SIZES: dict[str, tuple[ModelConfig, int, int, int]] = {
    "mini": (
        ModelConfig(
            layers=2, hidden_size=64, heads=4, expansion=3.0, inner_multiple=32, positions="both",
            max_segments=8,
        ), 8, 36, 32,
    ),
    "medium": (
        ModelConfig(hidden_size=96, heads=2, inner_multiple=32, max_segments=8), 11, 81, 32,
    ),
    "paper": (ModelConfig(), 11, 81, 768),
    "maze": (ModelConfig(), 6, 900, 768),
}  # fmt: skip
TASKS: dict[str, Task] = {
    "mini": Sudoku(2, 3),
    "medium": Sudoku(3, 3),
    "paper": Sudoku(3, 3),
    "maze": Maze(30),
}
RECIPE = TrainConfig(steps=10_000, lr=1e-4, warmup_steps=0)
MATRIX = {"cuda": 8192, "cpu": 2048}  # rows and columns of the product whose rate is measured


def shrink() -> None:
    """Tiny models and boards in place of the paper's: whether a benchmark runs shows in seconds."""
    tiny = ModelConfig(layers=1, hidden_size=16, heads=2, inner_multiple=8)
    SIZES.update(paper=(tiny, 6, 16, 4), maze=(tiny, 6, 25, 4))
    TASKS.update(paper=Sudoku(2, 2), maze=Maze(5))
    MATRIX.update(cuda=64, cpu=64)


def arguments(about: str | None, size: str, precision: Precision) -> argparse.ArgumentParser:
    """The options of every benchmark; ``about`` is its docstring, the others its defaults."""
    lines = (about or "").splitlines()
    parser = argparse.ArgumentParser(
        description=lines[0],
        epilog="\n".join(lines[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=SIZES, default=size)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default=precision)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def build(size: str, precision: Precision, device: torch.device) -> AIR:
    config, vocabulary, cells, _ = SIZES[size]
    return AIR(config, Variant.parse("Lx_H"), vocabulary, cells, precision, seed=0).to(device)


def boards(size: str, batch: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens: speed does not depend on what they say."""
    _, vocabulary, cells, _ = SIZES[size]
    random = torch.Generator().manual_seed(0)
    inputs, labels = torch.randint(1, vocabulary, (2, batch, cells), generator=random)
    return inputs.to(device), labels.to(device)


def flops_of_f(model: AIR, batch: int) -> float:
    """Of one call: two per weight and row that it multiplies, and the two products of attention."""
    positions, d = model.attention_lead + model.cells, model.config.hidden_size
    flops = 0
    for name, weight in model.stacks[0].named_parameters():
        # TRM's MLP runs over the positions, of each of which d rows are made
        flops += 2 * weight.numel() * (d if ".mlp." in name else positions)
    if model.config.mixing == "attention":
        flops += 4 * positions**2 * d * model.config.layers
    return float(batch * flops)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def take_turns(
    sides: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
    each: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds per call of each side, measured in turns so that a busy moment hits all."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            synchronize(device)
            began = clock()
            for _ in range(each):
                call()
            synchronize(device)
            taken[name].append((clock() - began) / each)
    return {name: statistics.median(times) for name, times in taken.items()}


def matrix_rate(
    precision: Precision,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """FLOP/s of a large matrix product on this device, the best of several."""
    n = MATRIX[device.type]
    a, b = torch.randn(2, n, n, device=device, dtype=getattr(torch, precision))
    from air.model.kernels import linear

    def product() -> object:
        return linear(a, b)

    product()
    times = [take_turns({"product": product}, device, 1, 5, clock)["product"] for _ in range(6)]
    return 2 * n**3 / min(times)
