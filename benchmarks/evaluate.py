"""Evaluation as `air evaluate` runs it, beside the same rollouts written plainly.

python benchmarks/evaluate.py
python benchmarks/evaluate.py --size paper --precision bfloat16 --puzzles 16 --batch 16
python benchmarks/evaluate.py --size paper --precision bfloat16 --device cuda --puzzles 20480 --batch 2048
"""  # noqa: E501

import numpy as np
import torch
from plain import rollout
from sizes import TASKS, arguments, boards, build, take_turns

from air.devices import ComputeConfig, prepare
from air.evaluation.accuracy import evaluate
from air.probes.decoding import CPU, peak_memory
from air.tasks.task import Puzzles


def main() -> None:
    parser = arguments(__doc__, "mini", "float32")
    parser.add_argument("--puzzles", type=int, default=512)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-plain", action="store_true", help="measure ours alone")
    parser.add_argument("--compile", action="store_true", help="compile f, as large sets do")
    given = parser.parse_args()
    device = prepare(ComputeConfig(device=given.device, threads=given.threads))
    model = build(given.size, given.precision, device)
    inputs, labels = (t.numpy().astype(np.uint8) for t in boards(given.size, given.puzzles, CPU))
    puzzles = Puzzles(TASKS[given.size], inputs, labels, 0)

    def ours() -> None:
        evaluate(model, puzzles, given.batch, device, compiled=given.compile, silent=True)

    def plainly() -> None:
        for start in range(0, given.puzzles, given.batch):
            rows = slice(start, start + given.batch)
            rollout(
                model,
                torch.from_numpy(inputs[rows].astype(np.int64)).to(device),
                torch.from_numpy(labels[rows].astype(np.int64)).to(device),
            )

    sides = {"ours": ours} if given.no_plain else {"plain": plainly, "ours": ours}
    for call in sides.values():
        call()
    seconds = take_turns(sides, device, given.rounds, 1)
    print(
        f"{given.size} size, {given.puzzles:,} puzzles in batches of {given.batch}, "
        f"{model.config.max_segments} segments, {given.precision} on {device}"
    )
    for name, taken in seconds.items():
        ratio = f", {seconds['plain'] / taken:.2f}x plain" if "plain" in seconds else ""
        print(f"{name:>6}: {1000 * taken / given.puzzles:.2f} s per 1,000 puzzles{ratio}")
    print(f"peak memory {peak_memory(device) / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
