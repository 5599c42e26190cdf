"""The training loop: a segment of every slot per step, deep supervision, resumable anywhere."""

import csv
import io
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from air.model.config import ModelConfig
from air.model.halting import Outcome, fresh_carry, training_step
from air.model.network import AIR, Precision
from air.model.variants import Variant
from air.progress import Progress
from air.tasks.task import Puzzles
from air.training.batches import batch, min_segments
from air.training.config import TrainConfig
from air.training.optim import AdamATan2, SignSGD, learning_rate_factor
from air.training.state import RunState

Row = dict[str, float]
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
)


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
        self.sums = torch.zeros(8, dtype=torch.float64, device=device)
        self.steps = 0

    @torch.no_grad()
    def add(self, outcome: Outcome) -> None:
        per_slot = [outcome.solved, outcome.cell_accuracy, outcome.steps, outcome.halted]
        halted = torch.stack([value.double() for value in per_slot]) * outcome.halted
        self.sums += torch.cat([outcome.losses.double(), halted.sum(dim=1)])
        self.steps += 1

    def row(self, step: int, lr: float) -> Row:
        *sums, puzzles = self.sums.tolist()
        losses = [total / self.steps for total in sums[:4]]
        rates = [total / puzzles if puzzles else float("nan") for total in sums[4:]]
        return dict(zip(COLUMNS, [step, lr, *losses, *rates], strict=True))

    def clear(self) -> None:
        self.sums.zero_()
        self.steps = 0


def train(
    run: Run,
    puzzles: Puzzles,
    device: torch.device,
    state_folder: Path,
    save_every_seconds: float = 60.0,
    label: str = "train",
    compiled: bool = False,
) -> tuple[AIR, list[Row]]:
    """Train a model; return it and the rows of training.csv.

    Picks up where an interrupted run of the same ``state_folder`` stopped, and ends in the same
    weights as one that never did.

    Raises:
        Stopped: SIGINT or SIGTERM came; the state is saved.
        Diverged: the loss is not finite.
    """
    config = run.train
    task = puzzles.task
    model = AIR(
        run.model, run.variant, len(task.vocabulary), task.cells, run.precision, run.seed
    ).to(device)
    model.train()
    if compiled:
        model.compile_f()
    optimizer, puzzle_optimizer = optimizers(model, config)

    def offer(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = batch(puzzles, config.batch_size, run.seed, step)
        return inputs.to(device), labels.to(device)

    saved = RunState(state_folder)
    averages = Averages(device)
    rows: list[Row] = []
    restored = saved.load(model, optimizer, device)
    if restored is None:
        carry, begin = fresh_carry(model, *offer(0)), 0
    else:
        carry, begin, log = restored
        rows = log["rows"]
        averages.sums = torch.tensor(log["sums"], dtype=torch.float64, device=device)
        averages.steps = log["steps"]
        print(f"{label}: going on from step {begin} of {config.steps}", file=sys.stderr)

    def save(step: int) -> None:
        log = {"rows": rows, "sums": averages.sums.tolist(), "steps": averages.steps}
        saved.save(model, optimizer, carry, step, log)

    saved_at = time.monotonic()
    with stop_requested() as stop, Progress(label, config.steps, "steps", begin) as progress:
        for step in range(begin, config.steps):
            factor = learning_rate_factor(config, step + 1)
            for rate, group in (
                (config.lr, optimizer.param_groups[0]),
                (config.puzzle_lr, puzzle_optimizer.param_groups[0]),
            ):
                group["lr"] = rate * factor
            least = min_segments(
                config.batch_size, run.model.max_segments, config.exploration, run.seed, step
            )
            carry, outcome = training_step(model, carry, *offer(step), least.to(device))
            outcome.losses[0].backward()
            optimizer.step()
            puzzle_optimizer.step()
            model.zero_grad(set_to_none=True)
            averages.add(outcome)

            done, note = step + 1, ""
            if done % config.log_every == 0 or done == config.steps:
                row = averages.row(done, config.lr * factor)
                averages.clear()
                if not torch.tensor(row["loss"]).isfinite():
                    raise Diverged(
                        f"the loss is not finite at step {done}: try a lower train.lr or a longer "
                        "train.warmup_steps"
                    )
                rows.append(row)
                note = f"loss {row['loss']:.3f}, exact {row['exact_accuracy']:.1%}"
            progress.advance(note=note)
            if stop.is_set():
                save(done)
                raise Stopped(f"stopped at step {done} of {config.steps}; run again to go on")
            if time.monotonic() - saved_at > save_every_seconds and done < config.steps:
                save(done)
                saved_at = time.monotonic()
    return model, rows


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
        writer.writerow([int(row["step"]), *(f"{row[name]:.6g}" for name in COLUMNS[1:])])
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
