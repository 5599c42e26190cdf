"""freeze.json: what one state does when the other keeps its value."""

from typing import Literal

from pydantic import ConfigDict

from air.results.record import Count, Index, Maybe, MaybeEnds, Record, Share

StateName = Literal["z_L", "z_H"]


class Changes(Record):
    """Cells of a puzzle that change, summed over a rollout: mean over puzzles, standard error.

    ``per_transition`` is the mean at each step from one board to the next.
    """

    mean: float
    se: Maybe
    per_transition: list[float]


class Moved(Record):
    """What one state does in one condition, and the accuracy of its last board."""

    exact_accuracy: Share
    mask_flips: Changes
    content_changes: Changes
    token_changes: Changes


class Condition(Record):
    """Both states while nothing, or one of them, is frozen."""

    z_L: Moved
    z_H: Moved

    def state(self, name: str) -> Moved:
        """What ``z_L`` or ``z_H`` does."""
        return {"z_L": self.z_L, "z_H": self.z_H}[name]


class Effect(Record):
    """The moving state, frozen minus normal, from the segment at which freezing starts.

    Differences of content changes and mask flips per puzzle, with 95 % intervals over puzzles.
    """

    state: StateName
    from_segment: Index
    content_changes: float
    interval: MaybeEnds
    mask_flips: float
    mask_flips_interval: MaybeEnds


class Effects(Record):
    """One for each condition in which a state is frozen, those of later segments included."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Effect]

    freeze_H: Effect
    freeze_L: Effect

    def of(self, condition: str) -> Effect:
        """The effect of a condition, by its name."""
        found: Effect = getattr(self, condition)
        return found


class FreezeMeasures(Record):
    """The contents of freeze.json.

    Besides the three conditions that every study has, ``freeze_H_from_k`` and ``freeze_L_from_k``
    for later segments k.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Condition]
    written_last = ("effects",)

    puzzles: Count
    transitions: Count
    normal: Condition
    freeze_H: Condition
    freeze_L: Condition
    effects: Effects

    def condition(self, name: str) -> Condition:
        """What happened in a condition, by its name."""
        found: Condition = getattr(self, name)
        return found

    def changes(self, condition: str, state: str, kind: str = "content_changes") -> Changes:
        """The changes of a state in a condition."""
        found: Changes = getattr(self.condition(condition).state(state), kind)
        return found
