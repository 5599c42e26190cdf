"""What evaluation and each probe cost on a CPU for models of the size of HRM's and TRM's.

    python benchmarks/public_models.py
    python benchmarks/public_models.py --threads 2 --only hrm-sudoku hrm-maze trm-sudoku

The models are HRM's and TRM's for Sudoku-Extreme and Maze-Hard, with random weights and on random
boards: the time depends on neither. Each measurement has a process of its own, whose peak memory is
its own then, and the matrix rate is measured in it before and after. Both in seconds of the
processor, all threads together, which other processes disturb little; those of the clock stand
beside them, and on a machine that does nothing else they are as many with one thread.

FLOP are counted, not measured: two per weight and row in every call of f that a measurement makes,
attention's two products, and the scores that the attention probe computes once more. Heads, norms,
softmax and whatever else is no matrix product of f count as nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sizes import SIZES, TASKS, boards, flops_of_f, matrix_rate

from air.devices import ComputeConfig, prepare
from air.evaluation.accuracy import evaluate
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.probes.attention_maps import attention, has_attention
from air.probes.decoding import CPU, peak_memory
from air.probes.emergence import emergence
from air.probes.freezing import freeze
from air.probes.rollouts import rollout
from air.tasks.task import Puzzles

SEGMENTS = [2, 4, 6, 8, 10, 12, 14, 15]  # of the attention probe, the paper's
TRM = ModelConfig(layers=2, H_cycles=3, L_cycles=6, slots=16)
# (size of the boards, variant, model)
MODELS: dict[str, tuple[str, str, ModelConfig]] = {
    "hrm-sudoku": ("paper", "hrm", ModelConfig()),
    "hrm-maze": ("maze", "hrm", ModelConfig()),
    "trm-sudoku": ("paper", "Lx_H", TRM.model_copy(update={"mixing": "mlp", "positions": "none"})),
    "trm-maze": ("maze", "Lx_H", TRM),
}
MEASURES = ("evaluation", "rollout", "freeze", "attention", "emergence, a snapshot")
# what is assumed to choose the number of puzzles: FLOP/s
ASSUMED_RATE = 1.5e11


def build(name: str) -> AIR:
    size, variant, config = MODELS[name]
    _, vocabulary, cells, _ = SIZES[size]
    return AIR(config, Variant.parse(variant), vocabulary, cells, "bfloat16", seed=0)


def flops_of(measure: str, model: AIR) -> float:
    """Of a puzzle: the calls of f that the measure makes, and attention's scores once more."""
    config = model.config
    H = config.max_segments * config.H_cycles
    L = H * config.L_cycles
    rollouts = {"freeze": 2, "emergence, a snapshot": 2}.get(measure, 1)  # frozen: half each
    flops = rollouts * (L + H) * flops_of_f(model, 1)
    if measure in ("attention", "emergence, a snapshot") and has_attention(model):
        seen = 2 * len(SEGMENTS) * config.layers  # an L- and an H-update of each segment
        flops += seen * 2 * model.cells**2 * config.hidden_size
    return flops


def random_puzzles(name: str, count: int) -> Puzzles:
    size = MODELS[name][0]
    inputs, labels = boards(size, count, CPU)
    if size == "paper":  # about as many blanks as a real puzzle
        inputs[torch.rand(inputs.shape, generator=torch.Generator().manual_seed(1)) < 0.7] = 1
    questions, answers = (tensor.numpy().astype(np.uint8) for tensor in (inputs, labels))
    return Puzzles(TASKS[size], questions, answers, 0)


def measured(name: str, measure: str, threads: int, seconds: float) -> dict[str, float]:
    """One row of the table, in this process."""
    device = prepare(ComputeConfig(device="cpu", precision="bfloat16", threads=threads))
    model = build(name)
    flops = flops_of(measure, model)
    count = max(round(seconds * ASSUMED_RATE / flops), 1)
    puzzles = random_puzzles(name, count)
    calls: dict[str, Callable[[], object]] = {
        "evaluation": lambda: evaluate(model, puzzles, 256, device, silent=True),
        "rollout": lambda: rollout(model, puzzles, device=device),
        "freeze": lambda: freeze(model, puzzles, device=device),
        "attention": lambda: attention(model, puzzles, SEGMENTS, device=device),
        "emergence, a snapshot": lambda: emergence([(0, model)], puzzles, SEGMENTS, device=device),
    }
    rates = [matrix_rate("bfloat16", device, time.process_time)]
    began, began_by_clock = time.process_time(), time.perf_counter()
    calls[measure]()
    taken, by_clock = time.process_time() - began, time.perf_counter() - began_by_clock
    rates.append(matrix_rate("bfloat16", device, time.process_time))
    rate = sum(rates) / 2
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "puzzles": count,
        "seconds": taken / count,
        "by_clock": by_clock / count,
        "flops": flops,
        "rate": rate,
        "share": flops * count / taken / rate,
        "gib": peak_memory(device) / 2**30,
    }


def main() -> None:
    about, *details = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        description=about,
        epilog="\n".join(details),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15, help="of a measurement, about")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--measures", choices=MEASURES, nargs="+", default=MEASURES)
    parser.add_argument("--here", action="store_true", help="one measurement, in this process")
    given = parser.parse_args()
    if given.here:
        row = measured(given.only[0], given.measures[0], given.threads, given.seconds)
        print(json.dumps(row))
        return
    print(f"{given.threads} thread{'s' if given.threads > 1 else ''}, bfloat16\n")
    print("| model | measure | puzzles | s a puzzle | by the clock | TFLOP a puzzle "
          "| matrix rate, GFLOP/s | share of it | GiB |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.only:
        for measure in given.measures:
            if measure == "attention" and not has_attention(build(name)):
                continue
            command = [sys.executable, str(Path(__file__)), "--here", "--only", name]
            command += ["--measures", measure, "--threads", str(given.threads)]
            command += ["--seconds", str(given.seconds)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {name}, {row['parameters'] / 1e6:.1f} M | {measure} | {row['puzzles']} "
                f"| {row['seconds']:.2f} | {row['by_clock']:.2f} | {row['flops'] / 1e12:.2f} "
                f"| {row['rate'] / 1e9:.0f} | {row['share']:.0%} | {row['gib']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
