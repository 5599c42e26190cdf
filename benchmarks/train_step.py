"""A training step as `air train` runs it, beside the same step written plainly.

python benchmarks/train_step.py                                   # mini size, one CPU core
python benchmarks/train_step.py --size paper --precision bfloat16 --batch 8
python benchmarks/train_step.py --size paper --precision bfloat16 --device cuda --no-plain
"""

import time

import torch
from sizes import SIZES, arguments, boards, build, flops_of_f, matrix_rate, take_turns
from steps import Ours, Plain

from air.devices import ComputeConfig, prepare
from air.probes.decoding import peak_memory
from air.training.step import fresh_carry


def main() -> None:
    parser = arguments(__doc__, "mini", "float32")
    parser.add_argument("--batch", type=int, help="slots [default: the size's own]")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each side")
    parser.add_argument("--steps", type=int, default=5, help="steps per turn")
    parser.add_argument("--no-plain", action="store_true", help="measure our step alone")
    parser.add_argument("--no-eager", action="store_true", help="leave our uncompiled step out")
    given = parser.parse_args()
    device = prepare(ComputeConfig(device=given.device, threads=given.threads))
    batch = given.batch or SIZES[given.size][3]
    inputs, labels = boards(given.size, batch, device)
    offer = (inputs, labels, torch.zeros(batch, dtype=torch.int32, device=device))

    sides: dict[str, Ours | Plain] = {}
    names = ["plain", "ours, eager", "ours, compiled"]
    if given.no_plain:
        names.remove("plain")
    if given.no_eager:
        names.remove("ours, eager")
    for name in names:
        model = build(given.size, given.precision, device)
        if name == "ours, compiled":
            model.compile_f()
        kind = Plain if name == "plain" else Ours
        side = sides[name] = kind(model, fresh_carry(model, inputs, labels), offer)
        began = time.perf_counter()
        side()
        print(f"{name}: first step {time.perf_counter() - began:.1f} s, loss {side.loss:.6f}")
        side()
    losses = [float(side.loss) for side in sides.values()]
    tolerance = 1e-4 if given.precision == "float32" else 2e-2
    if max(losses) - min(losses) > tolerance * max(losses):
        raise SystemExit(f"the sides do not compute the same: losses {losses}")

    seconds = take_turns(dict(sides), device, given.rounds, given.steps)
    # 6 calls of f and 6 ahead; two of them with a gradient, which costs twice a call each
    calls = 2 * model.config.updates_per_segment + 4
    work = calls * flops_of_f(model, batch)
    rate = matrix_rate(given.precision, device)
    print(
        f"\n{given.size} size, batch {batch}, {given.precision} on {device} "
        f"({given.threads} thread), {work / 1e9:,.1f} GFLOP a step; "
        f"matrix product {rate / 1e9:,.0f} GFLOP/s"
    )
    for name, taken in seconds.items():
        ratio = f", {seconds['plain'] / taken:.2f}x plain" if "plain" in seconds else ""
        print(
            f"{name:>15}: {1000 * taken:9.1f} ms, {1 / taken:7.2f} steps/s, "
            f"{work / taken / rate:5.1%} of the matrix rate{ratio}"
        )
    print(f"peak memory {peak_memory(device) / 2**30:.2f} GiB (all sides together)")


if __name__ == "__main__":
    main()
