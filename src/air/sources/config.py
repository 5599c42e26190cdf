"""Where a task's puzzles come from: what every source has in common, and the three there are.

A task makes the sources it offers by adding its own keys to them (:mod:`air.sources.sudoku`).
"""

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from air.sources.generate import Search
    from air.tasks.task import Task

Count = Annotated[int, Field(gt=0, le=10_000_000)]
Ratings = Annotated[list[int | None], Field(min_length=2, max_length=2)]
Source = Field(discriminator="source")


def checked_range(key: str, ratings: list[int | None]) -> tuple[int, int | None]:
    """Least and greatest rating of a range in params.yaml; None for no limit.

    Raises:
        ValueError: it is none.
    """
    least, greatest = ratings
    if (
        least is None
        or not 0 <= least < 2**31
        or (greatest is not None and not least <= greatest < 2**31)
    ):
        raise ValueError(f"{key} {ratings} is not allowed: least and greatest, such as [15, null]")
    return least, greatest


class Data(BaseModel):
    """A task's ``data`` section of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    source: str
    train: Count = Field(description="training puzzles (groups)")
    test: Count | None = Field(description="test puzzles; null for all that a file has")
    seed: int = Field(0, ge=0, lt=2**63)

    also: ClassVar[dict[str, str]] = {}
    """Further symbols in files, and the one of the task's ``csv_symbols`` that each stands for."""
    solvable: ClassVar[bool] = False
    """Whether questions can be imported without their answers (:meth:`solve`)."""

    @abstractmethod
    def task(self) -> "Task":
        """The task whose puzzles these are."""

    @abstractmethod
    def faults(self, inputs: np.ndarray, labels: np.ndarray) -> list[str]:
        """What is wrong with each imported puzzle (boards ``[B, S]``), or "": B sentences.

        Skipped rows are counted by what stands before the first colon.
        """

    def solve(self, inputs: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """The answers to questions, uint8 ``[B, S]`` both, and what is wrong with each, or "".

        For ``solvable`` kinds only.
        """
        raise NotImplementedError


class Generated(Data):
    """Puzzles of our own."""

    source: Literal["generate"]
    test: Count = Field(description="test puzzles")

    @abstractmethod
    def search(self) -> "Search":
        """How puzzles of this kind are found."""


class Imported(Data):
    """Puzzles of two files, as :mod:`air.sources.imports` reads them."""

    on_bad_row: Literal["stop", "skip"] = Field(
        "stop", description="stop at a row that is no puzzle, or skip and count it"
    )
    min_difficulty: Ratings | None = Field(
        None,
        description="least and greatest rating of the puzzles to take, such as [15, null], or the "
        "least alone; null: any",
    )

    @field_validator("min_difficulty", mode="before")
    @classmethod
    def _least_alone(cls, value: Any) -> Any:
        return [value, None] if type(value) is int else value

    @field_validator("min_difficulty")
    @classmethod
    def _in_order(cls, value: list[int | None] | None) -> list[int | None] | None:
        if value is not None:
            checked_range("min_difficulty", value)
        return value


class Csv(Imported):
    """Two CSV files."""

    source: Literal["csv"]
    train_path: str = Field(description="CSV file from which the training puzzles are drawn")
    test_path: str = Field(description="CSV file of the test puzzles")


class HuggingFace(Imported):
    """The same files, downloaded once into the hub's own cache."""

    source: Literal["huggingface"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="data set, as owner/name")
    revision: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        max_length=200,
        description="commit of the data set (40 hexadecimal digits), or a branch or tag",
    )
    train_file: str = Field("train.csv")
    test_file: str = Field("test.csv")

    @property
    def pinned(self) -> bool:
        """Whether ``revision`` is a commit, which always means the same files."""
        return re.fullmatch("[0-9a-f]{40}", self.revision) is not None
