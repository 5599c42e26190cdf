"""data/TASK/statistics.json: what is reported of a task's puzzles."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from air.results.record import Count, Index, Record


class Bars(Record):
    """A histogram's bars: equal whole ``width``, the first one from ``start`` on."""

    start: Index
    width: Count
    counts: list[Index]


class Trait(Record):
    """How a whole number that each puzzle has is distributed."""

    mean: float
    min: Index
    max: Index
    bars: Bars


class Split(Record):
    """One split: how many puzzles, how many repeat another, what they are like."""

    puzzles: Count
    sha256: str
    repeated_up_to_symmetry: Index
    traits: dict[str, Trait]


class Splits(Record):
    """Both splits, which are described by the same traits."""

    train: Split
    test: Split

    @model_validator(mode="after")
    def _same_traits(self) -> Self:
        if set(self.train.traits) != set(self.test.traits):
            raise ValueError("train and test have other traits")
        return self

    def of(self, name: str) -> Split:
        """``train`` or ``test``."""
        return {"train": self.train, "test": self.test}[name]


class File(Record):
    """An imported file: its rows, those skipped, by reason, and those of another rating."""

    file: str
    sha256: str
    rows: Index
    skipped_rows: dict[str, Index]
    outside_min_difficulty: Index | None = None


class Files(Record):
    """The imported file of each split."""

    train: File
    test: File

    def of(self, name: str) -> File:
        """``train`` or ``test``."""
        return {"train": self.train, "test": self.test}[name]


class Examples(Record):
    """The first training puzzles, question and answer: boards ``[N, S]``."""

    inputs: Annotated[list[list[Index]], Field(min_length=1)]
    labels: list[list[Index]]


class Statistics(Record):
    """The contents of statistics.json.

    ``attempts`` is there if the puzzles were generated, ``files`` if they were imported, ``repo``
    and ``revision`` if from the hub.
    """

    source: str
    attempts: Count | None = None
    files: Files | None = None
    repo: str = ""
    revision: str = ""
    board: str = Field(pattern=r"^\d+ x \d+\z")
    members_per_group: Count
    seed: Index
    test_puzzles_in_train_up_to_symmetry: Index
    splits: Splits
    examples: Examples
