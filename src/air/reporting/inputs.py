"""What the files that the report reads must hold, besides results (:mod:`air.results`).

Only what the report makes use of is named; more may be there.
"""

from typing import Annotated, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from air.results.imported import Sizes
from air.results.record import Count, Ends, Index, Record

# names that become names of files: never a path
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*\z")]


# results/params.json


class Train(Record):
    steps: Count | None
    epochs: Count | None = None  # one of the two is given
    batch_size: Count
    lr: float
    weight_decay: float
    schedule: str
    lr_final: float
    ema: float | None
    q_continue: bool


class Runs(Record):
    variants: list[Name]
    seeds: list[Index]


class Probes(Record):
    """By the name of the probe."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Runs]

    rollout: Runs
    freeze: Runs
    attention: Runs
    emergence: Runs = Runs(variants=[], seeds=[])  # older studies have none

    def of(self, name: str) -> Runs:
        """The runs that a probe, also one that was added, has looked into."""
        found: Runs = getattr(self, name)
        return found


class Section(Runs):
    imported: list[Name] = Field(default_factory=list)  # older studies know of none
    model: Sizes
    train: Train
    probes: Probes


class Compute(Record):
    device: str
    precision: str
    threads: Count


class Params(Record):
    """params.yaml, complete, with a section for each task."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Section]

    preset: Name
    compute: Compute
    runtime: dict[str, float]

    def task(self, name: str) -> Section:
        """The section of a task, by its name."""
        return self.__pydantic_extra__[name]


class VariantSpec(Record):
    """What a variant's name stands for."""

    n_L: float
    n_H: float
    operator: str
    level_token: str
    two_networks: bool


class Checked(Record):
    """The whole file: the title of each task, the parameters, and what each variant is."""

    tasks: dict[Name, str]
    params: Params
    variants: dict[Name, VariantSpec]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        sections = self.params.__pydantic_extra__
        for task in self.tasks:
            if task not in sections:
                raise ValueError(f"params.{task}: this key is missing")
        for section in sections.values():
            for name in section.variants:
                if name not in self.variants:
                    raise ValueError(f"variants: {name} is missing")
        return self


# the header of data/TASK/*.safetensors


class _Drawn(Record):
    fills: list[Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}\z")] | None]
    box: Annotated[list[Count], Field(min_length=2, max_length=2)] | None


class Look(Record):
    """How boards are drawn, as the header of a data file states it."""

    rows: Count
    columns: Count
    vocabulary: list[str]
    undecided_token: Index
    look: _Drawn

    @property
    def cells(self) -> int:
        """Cells of a board, S."""
        return self.rows * self.columns

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.undecided_token < len(self.vocabulary) == len(self.look.fills):
            raise ValueError("vocabulary, fills and undecided_token do not fit each other")
        return self


def misfit(boards: object, look: Look) -> str:
    """What is wrong with ``boards`` [..., S] as boards of a task; "" if nothing is."""
    cells, tokens = look.cells, len(look.vocabulary)
    try:
        found = np.asarray(boards)
    except ValueError:  # rows of several lengths
        return f"must be boards of {cells} cells"
    if found.shape[-1:] != (cells,):
        return f"must be boards of {cells} cells"
    if found.dtype.kind not in "iu" or found.min(initial=0) < 0:
        return "must be tokens"
    return f"hold a token beyond {tokens - 1}" if found.max(initial=0) >= tokens else ""


# reports/paper.yaml


# As the file writes them: differences of whole numbers are whole numbers.
Number = int | float


class Published(Record):
    """Exact accuracy in percent, and its standard deviation over runs where it is known."""

    mean: float
    std: float | None = None


class _Normal(Record):
    z_L: Number
    z_H: Number


class _FrozenH(Record):
    z_L: Number


class _FrozenL(Record):
    z_H: Number


class Freezing(Record):
    """Content changes per puzzle of the state that moves."""

    normal: _Normal
    freeze_H: _FrozenH
    freeze_L: _FrozenL


class Attended(Record):
    """Contrasts on control cells, by name: mean and half-width per layer.

    As in attention.json, the first is that on the task's first neighbourhood.
    """

    control: Annotated[dict[str, list[Ends]], Field(min_length=1)]

    @property
    def nearest(self) -> list[Ends]:
        """The contrast that claims are about."""
        return next(iter(self.control.values()))


class Paper(Record):
    """Accuracies by variant and task, the probes' figures by task."""

    accuracy: dict[str, dict[str, Published]]
    freeze: dict[str, Freezing]
    attention: dict[str, Attended]
