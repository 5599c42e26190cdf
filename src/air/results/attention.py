"""attention.json and attention.npz: where L- and H-updates look."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from air.results.record import Arrays, Count, Held, Index, Maybe, MaybeEnds, Record


class Overall(Record):
    """A contrast's mean over layers, with a 95 % interval over puzzles."""

    mean: Maybe
    interval: MaybeEnds


class Contrast(Record):
    """L minus H (entropy: the reverse), one value per layer ``[layers]``.

    ``interval`` resamples whole puzzles and is what claims use; ``interval_rows`` is the paper's
    half-width, 1.96 sd / sqrt(rows), which takes every (puzzle, segment, cell) as independent;
    ``positive`` is the share of rows above 0; ``L`` and ``H`` are the means of the two parts.
    """

    all_layers: Overall
    mean: Annotated[list[Maybe], Field(min_length=1)]
    interval: list[MaybeEnds]
    interval_rows: list[Maybe]
    positive: list[Maybe]
    L: list[Maybe]
    H: list[Maybe]

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if len(self.mean) != len(self.interval):
            raise ValueError(f"has {len(self.mean)} means, but {len(self.interval)} intervals")
        return self


class Cells(Record):
    """The contrasts of one class of query cells, by name, those of neighbourhoods first.

    ``parts`` are those on the parts of a neighbourhood, where the task's has some (Sudoku: row,
    column, box), under names of the same form.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Contrast]
    written_last: ClassVar[tuple[str, ...]] = ("parts",)

    queries: Index
    puzzles: Index
    parts: dict[str, Contrast] = Field({})

    @property
    def contrasts(self) -> dict[str, Contrast]:
        """``d_<neighbourhood>`` of each, ``d_ent``, ``d_viol``."""
        return self.__pydantic_extra__

    @property
    def nearest(self) -> str:
        """The name of the task's first neighbourhood's contrast, the one that claims are about."""
        return next(iter(self.contrasts))


class AttentionMeasures(Record):
    """The contents of attention.json; ``segments`` are those looked at, counted from 0.

    A query cell is ``adjacent`` if one of its peers breaks a rule at that moment, or a ``control``.
    """

    puzzles: Count
    segments: Annotated[list[Index], Field(min_length=1)]
    control: Cells
    adjacent: Cells

    @model_validator(mode="after")
    def _same_contrasts(self) -> Self:
        names = [sorted(cells.contrasts) for cells in (self.control, self.adjacent)]
        if names[0] != names[1]:
            raise ValueError(f"control has the contrasts {names[0]}, but adjacent {names[1]}")
        parts = [sorted(cells.parts) for cells in (self.control, self.adjacent)]
        if parts[0] != parts[1]:
            raise ValueError(f"control has the parts {parts[0]}, but adjacent {parts[1]}")
        for name in ("d_ent", "d_viol"):
            if name not in names[0]:
                raise ValueError(f"control.{name}: this key is missing")
        if len(names[0]) < 3 or self.control.nearest in ("d_ent", "d_viol"):
            raise ValueError("control: begins with no contrast of a neighbourhood")
        return self

    def cells(self, name: str) -> Cells:
        """The ``control`` or the ``adjacent`` cells."""
        return {"control": self.control, "adjacent": self.adjacent}[name]


@dataclass(frozen=True)
class Maps(Arrays):
    """The contents of attention.npz, of the first N puzzles and all G segments looked at.

    ``inputs``, ``labels`` (uint8 [N, S]); ``query`` [N], the query cell; ``near`` (bool [N, S]),
    its neighbourhood; its row of ``attention`` (float32 [N, G, 2 (L, H), layers, S]), mean over
    heads; ``board`` (uint8) and ``violations`` (bool) [N, G, S], what z_H shows after the H-update
    and which cells of that break a rule; the same row of each of A ``heads`` (float16
    [N, G, 2, layers, A, S]), which older files do not have.
    """

    inputs: Annotated[np.ndarray, Held("NS")]
    labels: Annotated[np.ndarray, Held("NS")]
    query: Annotated[np.ndarray, Held("N", "i")]
    near: Annotated[np.ndarray, Held("NS", "b")]
    attention: Annotated[np.ndarray, Held("NG2LS", "f")]
    board: Annotated[np.ndarray, Held("NGS")]
    violations: Annotated[np.ndarray, Held("NGS", "b")]
    heads: Annotated[np.ndarray | None, Held("NG2LAS", "f")] = None
