"""The attention and freeze probes, beside the same measures taken puzzle by puzzle.

    python benchmarks/probes.py
    python benchmarks/probes.py --size maze --puzzles 4 --plain-puzzles 1

The plain side runs one puzzle at a time, as a script written for one figure does: five rollouts for
attention (boards, and maps of both levels once for neighbourhoods and once for violations), two for
a freeze of one state; measures in Python, cell by cell and head by head.
"""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from plain import f, linear
from sizes import TASKS, arguments, boards, build
from torch import Tensor

from air.devices import ComputeConfig, prepare
from air.model.network import AIR
from air.probes import attention, freeze
from air.probes.decoding import CPU, peak_memory
from air.tasks.task import Puzzles, Task

SEGMENTS = [2, 4, 6, 8, 10, 12, 14, 15]  # the paper's


@torch.inference_mode()
def plain_rollout(
    model: AIR, inputs: Tensor, frozen: str | None = None, look: tuple[str, list[int]] | None = None
) -> tuple[list[list[list[int]]], list[list[np.ndarray]]]:
    """Boards of (z_L, z_H) after every sub-step; attention maps of the first update of a level."""
    x = model.embed(inputs)
    z_L, z_H = model.fresh_states(1)
    shown: list[list[list[int]]] = []
    maps: list[list[np.ndarray]] = []

    def decode(z: Tensor) -> list[int]:
        return linear(z[:, 1:], model.lm_head.weight)[0].argmax(-1).tolist()

    for segment in range(model.config.max_segments):
        for H_cycle in range(model.config.H_cycles):
            for update in ["L"] * model.config.L_cycles + ["H"]:
                wanted = look is not None and look[0] == update and segment in look[1]
                seen: list[tuple[Tensor, Tensor]] | None = None
                if wanted and H_cycle == 0 and len(maps) == sum(s < segment for s in SEGMENTS):
                    seen = []
                if update == "L" and frozen != "L":
                    z_L = f(model, z_L + (z_H + x), seen)
                if update == "H" and frozen != "H":
                    z_H = f(model, z_H + z_L, seen)
                if seen is not None:
                    maps.append([explicit(q, k) for q, k in seen])
                shown.append([decode(z_L), decode(z_H)])
    return shown, maps


def explicit(q: Tensor, k: Tensor) -> np.ndarray:
    """The attention of all heads over all positions: [heads, P, P]."""
    scores = q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.softmax(-1)[0].numpy()


def plain_attention(model: AIR, task: Task, inputs: Tensor, labels: Tensor) -> list[list[float]]:
    """One row per captured segment, query cell and layer: masses and entropies of L and H."""
    updates = model.config.updates_per_segment
    shown, _ = plain_rollout(model, inputs)
    _, maps_L = plain_rollout(model, inputs, look=("L", SEGMENTS))
    _, maps_H = plain_rollout(model, inputs, look=("H", SEGMENTS))
    _, again_L = plain_rollout(model, inputs, look=("L", SEGMENTS))
    _, again_H = plain_rollout(model, inputs, look=("H", SEGMENTS))
    board, answer = inputs[0].numpy(), labels[0].numpy()
    near = [np.flatnonzero(row) for row in next(iter(task.neighbourhoods.values())).matrix]
    reach = [np.flatnonzero(row) for row in task.violation_reach]
    queries = np.flatnonzero(task.query_cells(board[None], answer[None])[0])
    segments = [s for s in SEGMENTS if s < model.config.max_segments]
    rows = []
    for place, segment in enumerate(segments):
        after_H = shown[segment * updates + model.config.L_cycles][1]
        wrong = task.violations(np.array([after_H], dtype=np.uint8), answer[None])[0]
        for cell in queries.tolist():
            bad = [other for other in reach[cell] if wrong[other]]
            for layer in range(model.config.layers):
                row: list[float] = [segment, cell, layer]
                for maps, again in ((maps_L, again_L), (maps_H, again_H)):
                    mass, entropy, violation = [], [], []
                    for head in range(model.config.heads):
                        share = maps[place][layer][head, cell + 1, 1:]
                        share = share / share.sum()
                        mass.append(share[near[cell]].sum())
                        entropy.append(-(share * np.log(share + 1e-12)).sum())
                        other = again[place][layer][head, cell + 1, 1:]
                        violation.append((other / other.sum())[bad].sum())
                    row += [
                        float(np.mean(mass)),
                        float(np.mean(entropy)) / np.log(task.cells),
                        float(np.mean(violation)),
                    ]
                rows.append(row)
    return rows


def plain_freeze(model: AIR, task: Task, inputs: Tensor, frozen: str) -> list[int]:
    """Mask flips and content changes of the moving state, normal and frozen."""
    counts = []
    for condition in (None, frozen):
        shown, _ = plain_rollout(model, inputs, condition)
        state = 0 if frozen == "H" else 1
        flips = content = 0
        for before, after in pairwise(shown):
            for a, b in zip(before[state], after[state], strict=True):
                if (a == task.mask_token) != (b == task.mask_token):
                    flips += 1
                elif a != b:
                    content += 1
        counts += [flips, content]
    return counts


def main() -> None:
    parser = arguments(__doc__, "paper", "bfloat16")
    parser.add_argument("--puzzles", type=int, default=16, help="of our side, at once")
    parser.add_argument("--plain-puzzles", type=int, default=2)
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that our side may hold")
    given = parser.parse_args()
    device = prepare(ComputeConfig(device=given.device, threads=given.threads))
    model = build(given.size, given.precision, device)
    task = TASKS[given.size]
    inputs, labels = boards(given.size, given.puzzles, CPU)
    if task.name == "sudoku":  # about as many blanks as a real puzzle
        inputs[torch.rand(inputs.shape, generator=torch.Generator().manual_seed(1)) < 0.7] = 1
    questions, answers = (t.numpy().astype(np.uint8) for t in (inputs, labels))
    puzzles = Puzzles(task, questions, answers, 0)
    segments = [s for s in SEGMENTS if s < model.config.max_segments]

    def per_puzzle(call: Callable[[], object], count: int) -> float:
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) / count

    def plainly(measure: Callable[[Tensor, Tensor], object]) -> float:
        def run() -> None:
            for row in range(given.plain_puzzles):
                measure(inputs[row : row + 1], labels[row : row + 1])

        return per_puzzle(run, given.plain_puzzles)

    print(f"{given.size} size, {given.precision} on {device}, {given.threads} thread")
    plain_model = build(given.size, given.precision, CPU)
    for name, ours, plain in (
        (
            "attention",
            lambda: attention(model, puzzles, segments, given.memory, device),
            lambda x, y: plain_attention(plain_model, task, x, y),
        ),
        (
            "freeze, both states",
            lambda: freeze(model, puzzles, given.memory, device),
            lambda x, y: [plain_freeze(plain_model, task, x, level) for level in ("H", "L")],
        ),
    ):
        taken, plain_taken = per_puzzle(ours, given.puzzles), plainly(plain)
        print(
            f"{name}: {taken:.3f} s per puzzle, plain {plain_taken:.3f} s: "
            f"{plain_taken / taken:.1f}x"
        )
    print(f"peak memory {peak_memory(device) / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
