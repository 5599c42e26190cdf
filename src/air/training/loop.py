"""The training loop: a segment of every slot per step, deep supervision, resumable anywhere."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from air.model.boards import tensors
from air.model.config import ModelConfig
from air.model.layers import widen
from air.model.network import AIR, Precision
from air.model.variants import Variant
from air.progress import Progress
from air.tasks.task import Puzzles
from air.training.batches import batch, min_segments
from air.training.config import TrainConfig
from air.training.curve import Averages, Row, note
from air.training.optim import AdamATan2, SignSGD, learning_rate_factor
from air.training.parallel import Ranks
from air.training.snapshots import Snapshots
from air.training.state import StateFiles, TrainState
from air.training.step import fresh_carry, training_step

Offer = tuple[Tensor, Tensor, Tensor]  # inputs, labels, min_segments: see training_step
log = logging.getLogger(__name__)
STOP_EVERY = 10  # steps between two questions whether any of several processes is to stop


class Stopped(Exception):
    """Training was stopped by SIGINT or SIGTERM and has saved its state."""


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


class Trainer:
    """A training run: its state, what a step does to it, and when it is logged and saved.

    Picks up where an interrupted run of the same ``state_folder`` stopped, and ends in the same
    weights as one that never did. Of several processes (``ranks``) each holds a share of the slots.
    """

    def __init__(
        self,
        run: Run,
        puzzles: Puzzles,
        device: torch.device,
        state_folder: Path,
        save_every_seconds: float = 60.0,
        label: str = "train",
        compiled: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.precision = run.train, run.precision
        self.device, self.label, self.compiled = device, label, compiled
        self.save_every_seconds, self.ranks = save_every_seconds, ranks or Ranks()
        training = len(puzzles) - run.train.validation
        self.held_out, puzzles = puzzles.slice(training, len(puzzles)), puzzles.first(training)
        self.steps = run.train.total_steps(len(puzzles))
        share = self.ranks.share(run.train.batch_size)
        self.offers = Offers(run, puzzles, self.steps, device, share)

        model = _fresh_model(run, puzzles, device, compiled)
        self.parameters = list(model.parameters())
        self.optimizers = optimizers(model, run.train)
        self.average = get_ema_multi_avg_fn(run.train.ema) if run.train.ema else None
        self.state = _fresh_state(model, self.optimizers[0], share, bool(self.average))
        self.files = StateFiles(state_folder)
        kept_at = run.train.snapshot_steps(self.steps)
        self.snapshots = Snapshots(state_folder, kept_at, run.train.snapshot_precision)
        saved = self.files.load(device)
        if saved and self.snapshots.restore(saved[1]["snapshots"]):
            self.state.load_state_dict(*saved, self.ranks)
        self.schedules = [self._schedule(optimizer) for optimizer in self.optimizers]
        self.norm = torch.zeros(())  # of the last gradient that was measured

    def fit(self) -> tuple[AIR, list[Row]]:
        """Train to the end; the model and the rows of training.csv, the same in every process.

        Raises:
            Stopped: SIGINT or SIGTERM came; the state is saved.
            Diverged: the loss is not finite; the state saved last is kept.
            CannotSave: a state or snapshot could not be written; the state before is kept.
        """
        state, silent = self.state, self.ranks.rank > 0
        if not silent:
            self._announce()
        self.saved_at = time.monotonic()
        with (
            stop_requested() as stop,
            closing(self.offers),
            Progress(
                self.label, self.steps, "steps", state.step, silent, self.compiled
            ) as progress,
        ):
            if state.step == 0:
                self._keep_if_due()
            while state.step < self.steps:
                self._step()
                self._keep_if_due()
                progress.advance(note=self._log() if self._row_is_due() else "")
                for schedule in self.schedules:
                    schedule.step()
                self._save_if_due(stop)
        return self._finished(), state.rows

    def _schedule(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        """The learning rate of the steps to come, the first of which is set at once."""
        first = self.state.step + 1
        return LambdaLR(
            optimizer, lambda done: learning_rate_factor(self.config, first + done, self.steps)
        )

    def _announce(self) -> None:
        begin, count = self.state.step, self.state.model.parameter_count
        log.info(
            f"{self.label}: {count:,} parameters, {self.device} {self.precision}"
            f"{', compiled' if self.compiled else ''}"
            f"{f', {self.ranks.count} processes' if self.ranks.count > 1 else ''}, "
            f"{self.steps:,} steps{f', going on from step {begin:,}' if begin else ''}, "
            f"state in {self.files.folder}"
        )

    def _row_is_due(self) -> bool:
        return self.state.step % self.config.log_every == 0 or self.state.step == self.steps

    def _step(self) -> None:
        """A segment of every slot, its gradient, an update of the weights and of their mean."""
        state, config = self.state, self.config
        state.carry, outcome = training_step(
            state.model,
            state.carry,
            *self.offers.take(state.step),
            slots=config.batch_size,
            gradient=config.gradient,
            q_continue=config.q_continue,
        )
        outcome.losses[0].backward()
        self.ranks.sum_gradients(self.parameters)
        state.averages.add(outcome)
        state.step += 1
        if config.clip or self._row_is_due():
            self.norm = clip_grad_norm_(self.parameters, config.clip or float("inf"))
        for optimizer in self.optimizers:
            optimizer.step()
        state.model.zero_grad(set_to_none=True)
        if self.average:
            weights = [widen(p.detach()) for p in self.parameters]
            self.average(list(state.mean.values()), weights, None)

    def _log(self) -> str:
        """Add the row that is due to the log; what the progress line says of it."""
        self._check_finite()
        averages, lr = self.state.averages, self.schedules[0].get_last_lr()[0]
        row = averages.row(self.ranks.sum(averages.sums), self.state.step, float(lr))
        averages.clear()
        row["gradient_norm"] = float(self.norm)
        if self.config.validation:
            row["validation_accuracy"] = self._validate()
        self.state.rows.append(row)
        return note(row)

    def _check_finite(self) -> None:
        averages = self.state.averages
        finite = int(averages.finite_steps)
        if finite < averages.steps:
            raise Diverged(
                f"the loss is not finite at step {self.state.step - averages.steps + finite + 1}; "
                "the state saved before is kept; try a lower train.lr, a longer "
                "train.warmup_steps or train.clip"
            )

    def _keep_if_due(self) -> None:
        """Write a snapshot at the steps that ask for one."""
        if self.state.step in self.snapshots.steps:
            self._check_finite()
            if self.ranks.rank == 0:
                self.snapshots.keep(self.state.step, self.state.weights())

    def _save_if_due(self, stop: threading.Event) -> None:
        """Save after ``save_every_seconds``, and when a signal has come: then raise Stopped."""
        done, asked = self.state.step, stop.is_set()
        late = time.monotonic() - self.saved_at > self.save_every_seconds and done < self.steps
        if self.ranks.count > 1:  # all must do the same at the same step
            if done % STOP_EVERY:
                return
            asked, late = (self.ranks.any(flag, self.device) for flag in (asked, late))
        if asked or late:
            self._check_finite()
            tensors, header = self.state.state_dict(self.ranks)
            if self.ranks.rank == 0:
                self.files.save(tensors, header | {"snapshots": self.snapshots.digests})
            self.saved_at = time.monotonic()
        if asked:
            raise Stopped(f"stopped at step {done} of {self.steps}; run again to go on")

    def _validate(self) -> float:
        """Exact accuracy on the groups held out, with the moving average of the weights, if any."""
        model, puzzles, mean = self.state.model, self.held_out, self.state.mean
        weights = {name: p.detach().clone() for name, p in model.named_parameters()} if mean else {}
        model.load_state_dict(mean, strict=False)
        solved = 0
        with torch.inference_mode():
            for start in range(0, len(puzzles), 256):
                rows = slice(start, start + 256)
                boards = tensors(puzzles.inputs[rows], puzzles.labels[rows])
                inputs, labels = (board.to(self.device) for board in boards)
                x = model.embed(inputs)
                z_L, z_H = model.fresh_states(len(inputs))
                for _ in range(model.config.max_segments):
                    z_L, z_H = model.segment(x, z_L, z_H)
                solved += int((model.decode(z_H).argmax(dim=-1) == labels).all(dim=1).sum())
        model.load_state_dict(weights, strict=False)
        return solved / len(puzzles)

    def _finished(self) -> AIR:
        model = self.state.model
        model.load_state_dict(self.state.mean, strict=False)
        if not all(bool(p.isfinite().all()) for p in self.parameters):
            raise Diverged(
                f"the weights are not finite after step {self.steps}; try a lower train.lr"
            )
        return model


def train(
    run: Run, puzzles: Puzzles, device: torch.device, state_folder: Path, **how: Any
) -> tuple[AIR, list[Row]]:
    """Train a model, see :class:`Trainer`: the model and the rows of training.csv."""
    return Trainer(run, puzzles, device, state_folder, **how).fit()


def _fresh_model(run: Run, puzzles: Puzzles, device: torch.device, compiled: bool) -> AIR:
    task = puzzles.task
    sizes = len(task.vocabulary), task.cells
    model = AIR(run.model, run.variant, *sizes, run.precision, run.seed).to(device)
    model.train()
    if compiled:
        model.compile_f()
    return model


def _fresh_state(model: AIR, optimizer: AdamATan2, share: slice, averaged: bool) -> TrainState:
    """The state before the first step: every slot is halted, and takes its first puzzle then."""
    device = model.H_init.device
    # in float32 at least: in bfloat16 (level tokens) small steps would round to nothing
    parameters = model.named_parameters() if averaged else ()
    mean = {name: widen(p.detach()).clone() for name, p in parameters}
    slots = share.stop - share.start
    blank = torch.zeros(slots, model.cells, dtype=torch.int64, device=device)
    return TrainState(model, optimizer, mean, fresh_carry(model, blank, blank), Averages(device))


def optimizers(model: AIR, config: TrainConfig) -> tuple[AdamATan2, SignSGD]:
    """AdamATan2 for everything but the puzzle embedding, SignSGD for that."""
    others = [p for name, p in model.named_parameters() if name != "puzzle_embedding"]
    beta1, beta2 = config.betas
    return (
        AdamATan2(others, config.lr, config.weight_decay, (beta1, beta2)),
        SignSGD([model.puzzle_embedding], config.puzzle_lr, config.puzzle_weight_decay),
    )


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
