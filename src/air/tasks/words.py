"""What the things of each task are called, in sentences that pages make for every task."""

from typing import NamedTuple


class Measure(NamedTuple):
    """How a contrast of attention is called, and in what it is measured."""

    title: str
    unit: str = "share"

    def __str__(self) -> str:
        """Both, in a sentence; a share is what one expects."""
        return self.title if self.unit == "share" else f"{self.title} ({self.unit})"


class Wording(NamedTuple):
    """What a task's things are called, in sentences that the report makes for every task."""

    rules: str  #: what its puzzles ask for
    query: str  #: the cells whose attention is measured
    mask: str  #: a cell that shows ``mask_token`` is ...
    undecided: str  #: a cell that shows ``undecided_token`` shows ...
    violation: str  #: a cell that is wrong by the task's own rule ...
    neighbourhoods: dict[str, Measure]  #: the contrast on each, also on parts; default: its name
    shares: tuple[str, ...] = ()  #: traits that are cells of the question: also shown as a share
    filled: str = ""  #: symbols that are not written where a board is drawn: their fill says them

    def neighbourhood(self, name: str) -> Measure:
        """What the contrast on a neighbourhood is called."""
        return self.neighbourhoods.get(name) or Measure(f"on {name}")


#: By the task's name.
WORDS: dict[str, Wording] = {
    "sudoku": Wording(
        rules="Every row, column and box holds each digit once. The rating is the number of dead "
        "ends that a solver runs into that fills in what is forced and otherwise guesses: at 0, "
        "nothing has to be guessed.",
        query="blank cells of the question",
        mask="blank",
        undecided="a blank",
        violation="shares its digit with a cell of its row, column or box",
        neighbourhoods={
            "nbr": Measure("on row, column, box"),
            "row": Measure("on the row"),
            "column": Measure("on the column"),
            "box": Measure("on the box"),
        },
    ),
    "maze": Wording(
        rules="The answer marks a shortest path from start to goal. In the mazes made here it is "
        "the only one of its length.",
        query="path cells",
        mask="on the path",
        undecided="padding",
        violation="differs from the answer",
        neighbourhoods={
            "nbr4": Measure("on 4 neighbours", "share, per cell"),
            "nbr8": Measure("on 8 neighbours", "share, per cell"),
            "win5": Measure("on 5 x 5 window", "share, per cell"),
        },
        shares=("walls",),
        filled="#o",
    ),
}
