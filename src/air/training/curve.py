"""training.csv: what a row averages, and how rows are written."""

import csv
import io

import torch
from torch import Tensor

from air.training.step import Outcome

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
    "gradient_norm",
    "validation_accuracy",
)


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
        """The row of ``sums``, which are those of all processes together."""
        *totals, puzzles = sums.tolist()
        losses = [total / self.steps for total in totals[:4]]
        rates = [total / puzzles if puzzles else float("nan") for total in totals[4:]]
        return dict(zip(COLUMNS, [step, lr, *losses, *rates], strict=False))

    def clear(self) -> None:
        self.sums.zero_()
        self.finite_steps.zero_()
        self.steps = 0


def note(row: Row) -> str:
    """A row in brief, for the progress line."""
    said = f"loss {row['loss']:.3f}"
    if row["exact_accuracy"] == row["exact_accuracy"]:  # else none has halted
        said += f", exact {row['exact_accuracy']:.1%}, {row['mean_segments']:.1f} segments"
    if "validation_accuracy" in row:
        said += f", validation {row['validation_accuracy']:.1%}"
    return said


def format_rows(rows: list[Row]) -> str:
    """training.csv: one line per row; losses per slot, accuracies as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = [row.get(name) for name in COLUMNS[1:]]
        # not measured, or no puzzle halted
        shown = ["" if value is None or value != value else f"{value:.6g}" for value in values]
        writer.writerow([int(row["step"]), *shown])
    return text.getvalue()
