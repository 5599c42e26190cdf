"""The training loop: a segment of every slot per step, deep supervision, resumable anywhere."""

import csv
import io
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from air.model.boards import tensors
from air.model.config import ModelConfig
from air.model.layers import widen
from air.model.network import AIR, Precision
from air.model.variants import Variant
from air.progress import Progress
from air.tasks.task import Puzzles
from air.training.batches import batch, min_segments
from air.training.config import TrainConfig
from air.training.optim import AdamATan2, SignSGD, learning_rate_factor
from air.training.parallel import Ranks
from air.training.state import RunState
from air.training.step import Carry, Outcome, fresh_carry, training_step

Row = dict[str, float]
Offer = tuple[Tensor, Tensor, Tensor]  # inputs, labels, min_segments: see training_step
COLUMNS = (
    "step",
    "lr",
    "loss",
    "lm_loss",
    "q_halt_loss",
    "q_continue_loss",
    "exact_accuracy",
    "cell_accuracy",
    "mean_segments",
    "gradient_norm",
    "validation_accuracy",
)
STOP_EVERY = 10  # steps between two questions whether any of several processes was told to stop


class Stopped(Exception):
    """Training was asked to stop (SIGINT, SIGTERM) and has saved its state."""


class Diverged(Exception):
    """The loss is not finite any more."""


@dataclass
class Run:
    """Everything that determines a training run besides its puzzles."""

    model: ModelConfig
    variant: Variant
    train: TrainConfig
    precision: Precision
    seed: int


class Averages:
    """What one row of training.csv averages over its steps, kept on the device until it is due.

    Losses are means over steps; accuracies and segments are means over puzzles that halted.
    """

    def __init__(self, device: torch.device) -> None:
        wide = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(8, dtype=wide, device=device)
        self.steps = 0
        self.finite_steps = torch.zeros((), dtype=torch.int64, device=device)  # before a fault

    @torch.no_grad()
    def add(self, outcome: Outcome) -> None:
        per_slot = [outcome.solved, outcome.cell_accuracy, outcome.steps, outcome.halted]
        halted = torch.stack([value.to(self.sums.dtype) for value in per_slot]) * outcome.halted
        self.sums += torch.cat([outcome.losses.to(self.sums.dtype), halted.sum(dim=1)])
        self.steps += 1
        self.finite_steps += self.sums[0].isfinite()

    def row(self, sums: Tensor, step: int, lr: float) -> Row:
        *totals, puzzles = sums.tolist()
        losses = [total / self.steps for total in totals[:4]]
        rates = [total / puzzles if puzzles else float("nan") for total in totals[4:]]
        return dict(zip(COLUMNS, [step, lr, *losses, *rates], strict=False))

    def clear(self) -> None:
        self.sums.zero_()
        self.finite_steps.zero_()
        self.steps = 0


class Offers:
    """The puzzles and exploration of each step, made while the step before is computed."""

    def __init__(
        self, run: Run, puzzles: Puzzles, steps: int, device: torch.device, share: slice
    ) -> None:
        self.run, self.puzzles, self.steps = run, puzzles, steps
        self.device, self.share = device, share
        self.pool = ThreadPoolExecutor(1)
        self.ahead: tuple[int, Future[Offer]] | None = None

    def take(self, step: int) -> Offer:
        """(inputs, labels, min_segments) of ``step`` on the device."""
        if self.ahead is not None and self.ahead[0] == step:
            offer = self.ahead[1].result()
        else:
            offer = self._make(step)
        if step + 1 < self.steps:
            self.ahead = step + 1, self.pool.submit(self._make, step + 1)
        inputs, labels, least = (tensor.to(self.device, non_blocking=True) for tensor in offer)
        return inputs, labels, least

    def _make(self, step: int) -> Offer:
        config, seed = self.run.train, self.run.seed
        inputs, labels = batch(self.puzzles, config.batch_size, seed, step, self.share)
        least = min_segments(
            config.batch_size, self.run.model.max_segments, config.exploration, seed, step
        )[self.share]
        if self.device.type == "cuda":
            return inputs.pin_memory(), labels.pin_memory(), least.pin_memory()
        return inputs, labels, least

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def train(
    run: Run,
    puzzles: Puzzles,
    device: torch.device,
    state_folder: Path,
    save_every_seconds: float = 60.0,
    label: str = "train",
    compiled: bool = False,
    ranks: Ranks | None = None,
) -> tuple[AIR, list[Row]]:
    """Train a model; return it and the rows of training.csv.

    Picks up where an interrupted run of the same ``state_folder`` stopped, and ends in the same
    weights as one that never did. Of several processes (``ranks``) each returns the same.

    Raises:
        Stopped: SIGINT or SIGTERM came; the state is saved.
        Diverged: the loss is not finite; the state saved last is kept.
        CannotSave: the state could not be written; the one before is kept.
    """
    config, task = run.train, puzzles.task
    ranks = ranks or Ranks()
    held_out = len(puzzles) - config.validation
    validation, puzzles = puzzles.slice(held_out, len(puzzles)), puzzles.first(held_out)
    steps = config.total_steps(len(puzzles))
    model = AIR(
        run.model, run.variant, len(task.vocabulary), task.cells, run.precision, run.seed
    ).to(device)
    model.train()
    if compiled:
        model.compile_f()
    optimizer, puzzle_optimizer = optimizers(model, config)
    parameters = list(model.parameters())
    # in float32 at least: in bfloat16 (level tokens) small steps would round to nothing
    mean = {n: widen(p.detach()).clone() for n, p in model.named_parameters()} if config.ema else {}
    share = ranks.share(config.batch_size)
    saved = RunState(state_folder)
    averages = Averages(device)
    rows: list[Row] = []
    offers = Offers(run, puzzles, steps, device, share)

    def gathered(carry: Carry) -> Carry:
        return Carry(*(ranks.gather(tensor) for tensor in vars(carry).values()))

    restored = saved.load(model, optimizer, mean, device)
    if restored is None:
        inputs, labels, _ = offers.take(0)
        carry, begin = fresh_carry(model, inputs, labels), 0
    else:
        carry, begin, log = restored
        carry = Carry(*(tensor[share] for tensor in vars(carry).values()))
        rows = log["rows"]
        if ranks.rank == 0:  # the others count from zero: rows hold sums over all
            averages.sums = torch.tensor(log["sums"], dtype=averages.sums.dtype, device=device)
        averages.steps = log["steps"]
        averages.finite_steps += log["steps"]
    count = sum(p.numel() for p in parameters)
    if ranks.rank == 0:
        print(
            f"{label}: {count:,} parameters, {device} {run.precision}"
            f"{', compiled' if compiled else ''}"
            f"{f', {ranks.count} processes' if ranks.count > 1 else ''}, {steps:,} steps"
            f"{f', going on from step {begin:,}' if begin else ''}, state in {state_folder}",
            file=sys.stderr,
            flush=True,
        )

    def check_finite(done: int) -> None:
        finite = int(averages.finite_steps)
        if finite < averages.steps:
            raise Diverged(
                f"the loss is not finite at step {done - averages.steps + finite + 1}; the state "
                "saved before is kept; try a lower train.lr, a longer train.warmup_steps or "
                "train.clip"
            )

    def save(done: int) -> None:
        check_finite(done)
        whole, sums = gathered(carry), ranks.sum(averages.sums.clone())
        if ranks.rank == 0:
            log = {"rows": rows, "sums": sums.tolist(), "steps": averages.steps}
            saved.save(model, optimizer, whole, mean, done, log)

    saved_at = time.monotonic()
    with (
        stop_requested() as stop,
        Progress(label, steps, "steps", begin, silent=ranks.rank > 0) as progress,
    ):
        try:
            for step in range(begin, steps):
                factor = learning_rate_factor(config, step + 1, steps)
                optimizer.param_groups[0]["lr"] = config.lr * factor
                puzzle_optimizer.param_groups[0]["lr"] = config.puzzle_lr * factor
                carry, outcome = training_step(
                    model,
                    carry,
                    *offers.take(step),
                    slots=config.batch_size,
                    gradient=config.gradient,
                    q_continue=config.q_continue,
                )
                outcome.losses[0].backward()
                ranks.sum_gradients(parameters)
                averages.add(outcome)
                done, note = step + 1, ""
                due = done % config.log_every == 0 or done == steps
                if config.clip or due:
                    limit = config.clip or float("inf")
                    norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
                optimizer.step()
                puzzle_optimizer.step()
                model.zero_grad(set_to_none=True)
                if config.ema:
                    _follow(mean, model, config.ema)

                if due:
                    check_finite(done)
                    row = averages.row(ranks.sum(averages.sums), done, config.lr * factor)
                    averages.clear()
                    row["gradient_norm"] = float(norm)
                    note = f"loss {row['loss']:.3f}"
                    if row["exact_accuracy"] == row["exact_accuracy"]:  # else none has halted
                        note += f", exact {row['exact_accuracy']:.1%}"
                        note += f", {row['mean_segments']:.1f} segments"
                    if config.validation:
                        row["validation_accuracy"] = _validate(model, mean, validation, device)
                        note += f", validation {row['validation_accuracy']:.1%}"
                    rows.append(row)
                progress.advance(note=note)
                now = time.monotonic()
                asked = stop.is_set()
                late = now - saved_at > save_every_seconds and done < steps
                if ranks.count > 1:  # all must do the same at the same step
                    if done % STOP_EVERY:
                        continue
                    asked, late = (ranks.any(flag, device) for flag in (asked, late))
                if asked:
                    save(done)
                    raise Stopped(f"stopped at step {done} of {steps}; run again to go on")
                if late:
                    save(done)
                    saved_at = now
        finally:
            offers.close()
    if mean:
        model.load_state_dict(mean, strict=False)
    if not all(bool(p.isfinite().all()) for p in parameters):
        raise Diverged(f"the weights are not finite after step {steps}; try a lower train.lr")
    return model, rows


def _follow(mean: dict[str, Tensor], model: AIR, decay: float) -> None:
    """mean <- decay mean + (1 - decay) weights."""
    weights = [widen(p.detach()) for p in model.parameters()]
    torch._foreach_lerp_(list(mean.values()), weights, 1 - decay)


def _validate(model: AIR, mean: dict[str, Tensor], puzzles: Puzzles, device: torch.device) -> float:
    """Exact accuracy on the groups held out, with the mean of the weights if there is one."""
    weights = {name: p.detach().clone() for name, p in model.named_parameters()} if mean else {}
    model.load_state_dict(mean, strict=False)
    solved = 0
    with torch.inference_mode():
        for start in range(0, len(puzzles), 256):
            rows = slice(start, start + 256)
            inputs, labels = (
                board.to(device) for board in tensors(puzzles.inputs[rows], puzzles.labels[rows])
            )
            x = model.embed(inputs)
            z_L, z_H = model.fresh_states(len(inputs))
            for _ in range(model.config.max_segments):
                z_L, z_H = model.segment(x, z_L, z_H)
            solved += int((model.decode(z_H).argmax(dim=-1) == labels).all(dim=1).sum())
    model.load_state_dict(weights, strict=False)
    return solved / len(puzzles)


def optimizers(model: AIR, config: TrainConfig) -> tuple[AdamATan2, SignSGD]:
    """AdamATan2 for everything but the puzzle embedding, SignSGD for that."""
    others = [p for name, p in model.named_parameters() if name != "puzzle_embedding"]
    beta1, beta2 = config.betas
    return (
        AdamATan2(others, config.lr, config.weight_decay, (beta1, beta2)),
        SignSGD([model.puzzle_embedding], config.puzzle_lr, config.puzzle_weight_decay),
    )


def format_rows(rows: list[Row]) -> str:
    """training.csv: one line per row; losses per slot, accuracies as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = [row.get(name) for name in COLUMNS[1:]]
        # not measured, or no puzzle halted
        told = ["" if value is None or value != value else f"{value:.6g}" for value in values]
        writer.writerow([int(row["step"]), *told])
    return text.getvalue()


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets, so that a step is never cut in half."""
    event = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield event  # only the main thread may handle signals
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
