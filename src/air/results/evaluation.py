"""evaluation.json: how many puzzles a model solves."""

from typing import Annotated

from pydantic import Field

from air.results.record import Count, Record, Share


class Evaluation(Record):
    """Accuracies of one model, as shares of puzzles or cells.

    ``exact_accuracy`` is the share of boards right in every cell after the model's last segment,
    ``cell_accuracy`` that of cells; ``exact_accuracy_by_segment`` the share of boards after
    segments 1, 2, ...; ``parameters`` how many numbers the model has learned.
    ``train_exact_accuracy`` is the first of these on ``train_puzzles`` puzzles that it was trained
    on: older studies have not measured it, and of a model that others trained these puzzles are not
    known.
    """

    exact_accuracy: Share
    cell_accuracy: Share
    exact_accuracy_by_segment: Annotated[list[Share], Field(min_length=1)]
    puzzles: Count
    parameters: Count
    train_exact_accuracy: Share | None = None
    train_puzzles: Count | None = None
