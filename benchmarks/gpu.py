"""The first ten minutes on a GPU: does it compute what it must, and how fast?

    python benchmarks/gpu.py                              # nine minutes at most
    python benchmarks/gpu.py --minutes 3 --out h100.json
    python benchmarks/gpu.py --device cpu --minutes 5     # a rehearsal, with small batches
    python benchmarks/gpu.py --device cpu --tiny          # the script's own test, in seconds

Needs torch, numpy, safetensors and pydantic alone. Everything is of the paper's size and in
bfloat16, except for the reference vectors. The most important comes first: what has been measured
when time is up is in the table and in the JSON file, which is rewritten after each part.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What a GPU needs to repeat itself bit for bit; read when its libraries start.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from memory import META, step_memory  # noqa: E402
from sizes import (  # noqa: E402
    SIZES,
    TASKS,
    boards,
    build,
    flops_of_f,
    matrix_rate,
    shrink,
    synchronize,
)
from steps import Ours, Plain  # noqa: E402
from torch import Tensor  # noqa: E402

from air.evaluation.accuracy import evaluate  # noqa: E402
from air.model.variants import Variant  # noqa: E402
from air.probes.attention_maps import attention  # noqa: E402
from air.probes.decoding import CPU, peak_memory  # noqa: E402
from air.probes.freezing import freeze  # noqa: E402
from air.probes.rollouts import rollout  # noqa: E402
from air.tasks.task import Puzzles  # noqa: E402
from air.training.config import TrainConfig  # noqa: E402
from air.training.loop import Run, optimizers, train  # noqa: E402
from air.training.step import fresh_carry, training_step  # noqa: E402
from tests.golden_vectors import FOLDER  # noqa: E402
from tests.golden_vectors import build as golden_model  # noqa: E402

SEGMENTS = [2, 4, 6, 8, 10, 12, 14, 15]  # of the attention probe, the paper's
Measured = Iterator[tuple[str, Any, str]]  # (name, value, how it reads)


class Bench:
    """The device, and how large batches are on it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        on_gpu = device.type == "cuda"
        # Maze: what one of the paper's eight GPUs had
        self.batch = {"paper": 768, "maze": 96} if on_gpu else {"paper": 8, "maze": 1}
        self.more = {"paper": [384, 1536], "maze": [48, 192]}
        if not on_gpu:
            self.more = {"paper": [4], "maze": [2]}
        self.steps = 20 if on_gpu else 2
        self.evaluated = {"paper": 8192, "maze": 256} if on_gpu else {"paper": 8, "maze": 1}
        self.evaluated_at_once = {"paper": 2048, "maze": 256} if on_gpu else self.evaluated
        self.probed = {"paper": 1000, "maze": 64} if on_gpu else {"paper": 4, "maze": 1}
        self.memory_gib = 12.0 if on_gpu else 2.0
        self.rate = 0.0

    def matrix_rate(self) -> float:
        self.rate = self.rate or matrix_rate("bfloat16", self.device)
        return self.rate

    def seconds(self, call: Callable[[], object], times: int = 1) -> float:
        synchronize(self.device)
        began = time.perf_counter()
        for _ in range(times):
            call()
        synchronize(self.device)
        return (time.perf_counter() - began) / times

    def fresh_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def puzzles(self, size: str, count: int) -> Puzzles:
        inputs, labels = boards(size, count, CPU)
        if size == "paper":  # about as many blanks as a real puzzle
            inputs[torch.rand(inputs.shape, generator=torch.Generator().manual_seed(1)) < 0.7] = 1
        questions, answers = (t.numpy().astype(np.uint8) for t in (inputs, labels))
        return Puzzles(TASKS[size], questions, answers, 0)


def reference_vectors(bench: Bench) -> Measured:
    """All variants in float64 on this device, against what the authors' code computes."""

    def distance(ours: Tensor, theirs: Tensor) -> float:
        theirs = theirs.to(ours.device)
        return ((ours - theirs).abs().max() / theirs.abs().max()).item()

    worst = {"first segment": 0.0, "four segments": 0.0, "losses": 0.0, "updated weights": 0.0}
    for path in sorted(FOLDER.glob("*.safetensors")):
        if path.stem.startswith("probe_"):
            continue
        model, golden, _ = golden_model(path)
        model.to(bench.device)
        inputs, labels = (
            golden[f"batch/{board}"].long().to(bench.device) for board in ("inputs", "labels")
        )
        with torch.no_grad():
            x = model.embed(inputs)
            z_L, z_H = model.fresh_states(len(inputs))
            for segment in range(4):
                z_L, z_H = model.segment(x, z_L, z_H)
                far = distance(model.decode(z_H), golden[f"eval/segment{segment}/logits"])
                which = "first segment" if segment == 0 else "four segments"
                worst[which] = max(worst[which], far)
        recipe = TrainConfig(
            steps=3, batch_size=len(inputs), lr=1e-3, weight_decay=0.1, warmup_steps=0,
            puzzle_lr=1e-2, puzzle_weight_decay=0.1,
        )  # fmt: skip
        both = optimizers(model, recipe)
        never = torch.zeros((), dtype=torch.int32, device=bench.device)
        for expected in golden["train/losses"]:
            fresh = fresh_carry(model, inputs, labels)
            _, outcome = training_step(model, fresh, inputs, labels, never)
            worst["losses"] = max(worst["losses"], distance(outcome.losses.detach(), expected))
            outcome.losses[0].backward()
            for optimizer in both:
                optimizer.step()
            model.zero_grad(set_to_none=True)
        if path.stem == "Lx_H":
            name = "lm_head.weight"
            after = golden[f"train/after/{name}"]
            worst["updated weights"] = distance(model.lm_head.weight.detach(), after)
    bounds = {name: 1e-7 if name == "four segments" else 1e-9 for name in worst}
    for name, far in worst.items():
        met = "met" if far < bounds[name] else "NOT MET"
        yield f"reference vectors, {name}", far, f"{far:.1e}, bound {bounds[name]:.0e}: {met}"


def training_steps(bench: Bench, size: str, batch: int, *sides: str) -> Measured:
    """Our step, ``compiled`` or ``eager``, and the ``plain`` one: a row each.

    The row of a side that does not fit in the GPU's memory says so, and the next one goes on.
    """
    rate = bench.matrix_rate()
    yield "matrix product", rate, f"{rate / 1e12:,.2f} TFLOP/s"
    inputs, labels = boards(size, batch, bench.device)
    offer = (inputs, labels, torch.zeros(batch, dtype=torch.int32, device=bench.device))
    label = f"step, {size} size, {batch} slots"
    model = build(size, "bfloat16", META)
    # a call of f for each update and look ahead; two with a gradient, which costs twice a call
    work = (2 * model.config.updates_per_segment + 4) * flops_of_f(model, batch)
    counted = step_memory(model, batch)
    yield f"{label}, memory counted", vars(counted), str(counted)
    for side in sides:
        bench.fresh_memory()
        try:
            first, taken = _step_times(bench, size, side, offer)
        except torch.OutOfMemoryError:
            yield f"{label}, {side}", None, "does not fit in the memory of this GPU"
            continue
        memory = peak_memory(bench.device) / 2**30
        found = {
            "seconds": taken, "first": first, "flop": work, "share": work / taken / rate,
            "gib": memory,
        }  # fmt: skip
        yield (
            f"{label}, {side}",
            found,
            f"{1000 * taken:,.1f} ms, {work / taken / rate:.0%} of the matrix rate, "
            f"{memory:.1f} GiB, first step {first:.0f} s",
        )


def _step_times(
    bench: Bench, size: str, side: str, offer: tuple[Tensor, ...]
) -> tuple[float, float]:
    """Seconds of the first step, and of one later on (the median of four turns)."""
    model = build(size, "bfloat16", bench.device)
    if side == "compiled":
        model.compile_f()
    kind = Plain if side == "plain" else Ours
    step = kind(model, fresh_carry(model, offer[0], offer[1]), offer)
    first = bench.seconds(step)
    step()
    turns = [bench.seconds(step, max(bench.steps // 4, 1)) for _ in range(4)]
    return first, statistics.median(turns)


def repeats(bench: Bench) -> Measured:
    """Two trainings of the same seed by air.training.loop, data and all."""
    batch, steps = bench.batch["paper"], bench.steps
    puzzles = bench.puzzles("paper", 1000)
    config = TrainConfig(steps=steps, batch_size=batch, log_every=steps)
    run = Run(SIZES["paper"][0], Variant.parse("Lx_H"), config, "bfloat16", 0)
    digests, times = [], []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            model, _ = train(
                run, puzzles, bench.device, Path(folder), save_every_seconds=1e9, compiled=True
            )
            synchronize(bench.device)
            times.append((time.perf_counter() - began) / steps)
        weights = [p.detach().cpu().numpy().tobytes() for p in model.parameters()]
        digests.append(hashlib.sha256(b"".join(weights)).hexdigest())
    same = digests[0] == digests[1]
    yield "two trainings", same, f"{steps} steps: {'the same bytes' if same else 'DIFFERENT'}"
    yield "step in the loop", times[1], f"{1000 * times[1]:,.1f} ms, compiling once more included"


def deterministic_off(bench: Bench) -> Measured:
    """What repeatable kernels cost."""
    torch.use_deterministic_algorithms(False)
    try:
        steps = training_steps(bench, "paper", bench.batch["paper"], "compiled")
        for name, found, text in steps:
            if name.endswith("compiled"):
                yield f"{name}, any kernels", found, text
    finally:
        torch.use_deterministic_algorithms(True)


def measures(bench: Bench, size: str) -> Measured:
    """Evaluation and the probes, per puzzle."""
    model = build(size, "bfloat16", bench.device)
    count, at_once = bench.evaluated[size], bench.evaluated_at_once[size]
    puzzles = bench.puzzles(size, count)
    work = model.config.max_segments * model.config.updates_per_segment * flops_of_f(model, 1)
    for side in ("eager", "compiled"):
        bench.fresh_memory()
        compiled = side == "compiled"
        if compiled:
            model.compile_f()
        evaluate(model, puzzles.first(at_once), at_once, bench.device, silent=True)  # warm, both

        def call() -> object:
            return evaluate(model, puzzles, at_once, bench.device, silent=True)

        taken = bench.seconds(call) / count
        share, memory = work / taken / bench.matrix_rate(), peak_memory(bench.device) / 2**30
        yield (
            f"evaluation, {size} size, {side}",
            {"seconds": taken, "share": share, "gib": memory},
            f"{1000 * taken:,.2f} ms a puzzle, {share:.0%} of the matrix rate, {memory:.1f} GiB",
        )
    model = build(size, "bfloat16", bench.device)
    few = puzzles.first(min(bench.probed[size], count))
    probes: dict[str, Callable[[], object]] = {
        "rollout": lambda: rollout(model, few, bench.memory_gib, bench.device),
        "freeze": lambda: freeze(model, few, bench.memory_gib, bench.device),
        "attention": lambda: attention(model, few, SEGMENTS, bench.memory_gib, bench.device),
    }
    for name, probe in probes.items():
        bench.fresh_memory()
        taken, memory = bench.seconds(probe) / len(few), peak_memory(bench.device) / 2**30
        yield (
            f"{name}, {size} size",
            {"seconds": taken, "gib": memory},
            f"{1000 * taken:,.2f} ms a puzzle, {memory:.1f} GiB",
        )


PARTS: dict[str, Callable[[Bench], Measured]] = {
    "reference vectors": reference_vectors,
    "Sudoku steps": lambda bench: training_steps(
        bench, "paper", bench.batch["paper"], "compiled", "eager", "plain"
    ),
    "repetition": repeats,
    "Sudoku measures": lambda bench: measures(bench, "paper"),
    "Maze steps": lambda bench: training_steps(bench, "maze", bench.batch["maze"], "compiled"),
    "repeatable or any kernels": deterministic_off,
    "Maze measures": lambda bench: measures(bench, "maze"),
    "other batches": lambda bench: (
        row
        for size, batches in bench.more.items()
        for batch in batches
        for row in training_steps(bench, size, batch, "compiled")
    ),
    "Maze steps, not compiled and plain": lambda bench: training_steps(
        bench, "maze", bench.batch["maze"], "eager", "plain"
    ),
}


class Report:
    """What has been measured so far, as JSON and as a table."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self.path, self.about, self.began = path, about, time.monotonic()
        self.rows: dict[str, tuple[Any, str]] = {}
        self.part = ""
        self.lock = threading.RLock()  # time is up in a thread of its own

    def add(self, name: str, value: Any, text: str) -> None:
        with self.lock:
            if name not in self.rows:
                print(f"{name}: {text}", flush=True)
            self.rows[name] = value, text
            self.save()

    def save(self) -> None:
        content = self.about | {name: value for name, (value, _) in self.rows.items()}
        content["minutes"] = round((time.monotonic() - self.began) / 60, 2)
        self.path.write_text(json.dumps(content, indent=1) + "\n")

    def table(self) -> None:
        with self.lock:
            self.save()
            print("\n" + ", ".join(self.about.values()))
            width = max(map(len, self.rows), default=0)
            for name, (_, text) in self.rows.items():
                print(f"{name:<{width}}  {text}")
            print(f"in {(time.monotonic() - self.began) / 60:.1f} minutes; as JSON: {self.path}")

    def time_up(self) -> None:
        """Stop at once, even in the middle of a kernel."""
        with self.lock:
            print(f"\ntime is up, in: {self.part}")
            self.table()
            sys.stdout.flush()
            os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="\n".join((__doc__ or "").splitlines()[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="at most [default: 9]")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="[default: gpu.json]")
    parser.add_argument("--tiny", action="store_true", help="tiny models: does this script run?")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), metavar="PART")
    given = parser.parse_args()
    device = torch.device(given.device)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this machine has no GPU that PyTorch sees; --device cpu")
    if given.tiny:
        shrink()
    name = platform.processor() or platform.machine()
    if given.device == "cuda":
        name = torch.cuda.get_device_name()
    torch.use_deterministic_algorithms(True, warn_only=given.device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    about = {"device": name, "torch": f"torch {torch.__version__}"}
    report = Report(given.out, about)
    timer = threading.Timer(60 * given.minutes, report.time_up)
    timer.daemon = True
    timer.start()
    bench = Bench(device)
    for part in given.only:
        report.part = part
        try:
            for row in PARTS[part](bench):
                report.add(*row)
        except Exception as error:  # a part that fails must not cost the others
            traceback.print_exc()
            said = str(error).splitlines() or [""]
            report.add(f"{part}: FAILED", str(error), f"{type(error).__name__}: {said[0]}")
        bench.fresh_memory()
    timer.cancel()
    report.table()


if __name__ == "__main__":
    main()
