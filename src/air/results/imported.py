"""import.json: a model that others trained, and where it came from."""

from typing import Annotated

from pydantic import Field

from air.results.record import Count, Index, Record

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]


class Hub(Record):
    """Where on the hub: the revision that was asked for, and the commit that it stood for."""

    repo: str
    revision: str
    commit: str
    file: str


class Sizes(Record):
    """The model's sizes."""

    layers: Count
    hidden_size: Count
    heads: Count
    positions: str
    mixing: str = "attention"  # of older studies, which do not say
    H_cycles: Count
    L_cycles: Count
    max_segments: Count

    @property
    def updates_per_segment(self) -> int:
        """Sub-steps in a segment."""
        return self.H_cycles * (self.L_cycles + 1)


class Step(Record):
    """A checkpoint on the way, by its hash."""

    step: Index
    sha256: Sha256


class Imported(Record):
    """What the model is in our terms, and the checkpoint that it was read from, by its hash."""

    source: str
    hub: Hub | None = None
    file: str
    sha256: Sha256
    arch: str
    variant: str
    parameters: Count
    model: Sizes
    steps: list[Step]  #: of the training, at which the weights were kept
