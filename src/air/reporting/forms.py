"""What the files that the report reads must hold: what they are held against when they are read.

Only what the report makes use of is named; more may be there. A number that was not finite stands
as null (``Maybe``), where the report can do without it.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

Count = Annotated[int, Field(gt=0)]
Index = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Maybe = float | None
Ends = Annotated[list[float], Field(min_length=2, max_length=2)]
MaybeEnds = Annotated[list[Maybe], Field(min_length=2, max_length=2)]
Verdict = Literal["holds", "fails", "inconclusive", "not run"]
# names that become names of files: never a path
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*\z")]


class Form(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


# results/params.json


class _Model(Form):
    layers: Count
    hidden_size: Count
    heads: Count
    positions: str
    H_cycles: Count
    L_cycles: Count
    max_segments: Count


class _Train(Form):
    steps: Count | None
    batch_size: Count
    lr: float
    weight_decay: float
    schedule: str
    lr_final: float
    ema: float | None
    q_continue: bool


class _Runs(Form):
    variants: list[Name]
    seeds: list[Index]


class _Probes(Form):
    rollout: _Runs
    freeze: _Runs
    attention: _Runs


class _Section(_Runs):
    model: _Model
    train: _Train
    probes: _Probes


class _Compute(Form):
    device: str
    precision: str
    threads: Count


class _Says(Form):
    n_L: float
    n_H: float
    operator: str
    level_token: str
    two_networks: bool


class Titles(Form):
    """The titles of the study's tasks, which say what else is to be expected."""

    tasks: dict[Name, str]


class _Checked(Titles):
    variants: dict[Name, _Says]
    params: Any

    @model_validator(mode="after")
    def _all_are_told_of(self) -> Self:
        for section in vars(self.params).values():
            for name in section.variants if isinstance(section, _Section) else ():
                if name not in self.variants:
                    raise ValueError(f"variants: {name} is missing")
        return self


def parameters(tasks: Iterable[str]) -> type[Form]:
    """The form of results/params.json in a study of ``tasks``."""
    sections: Any = dict.fromkeys(tasks, (_Section, ...))
    params = create_model(
        "Params", __base__=Form, preset=(Name, ...), compute=(_Compute, ...), **sections
    )
    return create_model("Checked", __base__=_Checked, params=(params, ...))


# evaluation.json, rollout.json, freeze.json, attention.json


class Evaluation(Form):
    exact_accuracy: Share
    cell_accuracy: Share
    puzzles: Count
    parameters: Count
    exact_accuracy_by_segment: Annotated[list[Share], Field(min_length=1)]
    # not measured by older studies
    train_exact_accuracy: Share | None = None
    train_puzzles: Count | None = None


class _Curve(Form):
    mean: list[Maybe]
    se: list[Maybe]

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if len(self.mean) != len(self.se):
            raise ValueError(f"has {len(self.mean)} means, but {len(self.se)} standard errors")
        return self


class _State(Form):
    undecided_overall: Share
    undecided_overall_interval: Ends
    undecided_moves: Maybe
    cell_accuracy: _Curve
    undecided: _Curve
    margin: _Curve
    distance: _Curve
    exact_by_segment: _Curve


class Rollout(Form):
    puzzles: Count
    segments: Count
    updates_per_segment: Count
    agreement: _Curve
    margin_lead: Maybe
    margin_lead_interval: MaybeEnds
    z_L: _State
    z_H: _State


class _Changes(Form):
    mean: float
    per_transition: list[float]


class _Moved(Form):
    exact_accuracy: Share
    content_changes: _Changes
    mask_flips: _Changes


class _Condition(Form):
    z_L: _Moved
    z_H: _Moved


class _Effect(Form):
    state: Literal["z_L", "z_H"]
    content_changes: float
    interval: Ends


class _Effects(Form):
    freeze_H: _Effect
    freeze_L: _Effect


class Freeze(Form):
    puzzles: Count
    normal: _Condition
    freeze_H: _Condition
    freeze_L: _Condition
    effects: _Effects


class _Overall(Form):
    mean: Maybe
    interval: MaybeEnds


class _Contrast(Form):
    all_layers: _Overall
    mean: Annotated[list[Maybe], Field(min_length=1)]
    interval: list[MaybeEnds]

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if len(self.mean) != len(self.interval):
            raise ValueError(f"has {len(self.mean)} means, but {len(self.interval)} intervals")
        return self


class _Cells(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
    __pydantic_extra__: dict[str, _Contrast]  # one of each neighbourhood

    queries: Index
    puzzles: Index
    d_ent: _Contrast
    d_viol: _Contrast


class Attention(Form):
    puzzles: Count
    segments: Annotated[list[Index], Field(min_length=1)]
    control: _Cells
    adjacent: _Cells

    @model_validator(mode="after")
    def _same_contrasts(self) -> Self:
        names = [sorted(cells.model_extra or {}) for cells in (self.control, self.adjacent)]
        if names[0] != names[1] or not names[0]:
            raise ValueError(f"control has the contrasts {names[0]}, but adjacent {names[1]}")
        return self


MEASURES = {
    "evaluation": Evaluation,
    "rollout": Rollout,
    "freeze": Freeze,
    "attention": Attention,
}


# data/TASK/statistics.json, and the header of data/TASK/*.safetensors


class _Bars(Form):
    start: Index
    width: Count
    counts: list[Index]


class _Trait(Form):
    mean: float
    min: Index
    max: Index
    bars: _Bars


class _Split(Form):
    puzzles: Count
    repeated_up_to_symmetry: Index
    traits: dict[str, _Trait]


class _Splits(Form):
    train: _Split
    test: _Split

    @model_validator(mode="after")
    def _same_traits(self) -> Self:
        if set(self.train.traits) != set(self.test.traits):
            raise ValueError("train and test have other traits")
        return self


class _File(Form):
    rows: Index
    skipped_rows: dict[str, Index]
    outside_min_difficulty: Index | None = None


class _Files(Form):
    train: _File
    test: _File


class _Examples(Form):
    inputs: Annotated[list[list[Index]], Field(min_length=1)]
    labels: list[list[Index]]


class Statistics(Form):
    source: str
    repo: str = ""
    revision: str = ""
    files: _Files | None = None
    board: str = Field(pattern=r"^\d+ x \d+\z")
    members_per_group: Count
    seed: Index
    test_puzzles_in_train_up_to_symmetry: Index
    splits: _Splits
    examples: _Examples


class _Drawn(Form):
    fills: list[Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}\z")] | None]
    box: Annotated[list[Count], Field(min_length=2, max_length=2)] | None


class Look(Form):
    """How boards are drawn, as the header of a data file tells it."""

    rows: Count
    columns: Count
    vocabulary: list[str]
    undecided_token: Index
    look: _Drawn
    sha256: str

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.undecided_token < len(self.vocabulary) == len(self.look.fills):
            raise ValueError("vocabulary, fills and undecided_token do not fit each other")
        return self


def misfit(boards: Any, look: Mapping[str, Any]) -> str:
    """What is wrong with ``boards`` [..., S] as boards of a task; "" if nothing is."""
    cells, tokens = look["rows"] * look["columns"], len(look["vocabulary"])
    try:
        boards = np.asarray(boards)
    except ValueError:  # rows of several lengths
        return f"must be boards of {cells} cells"
    if boards.shape[-1:] != (cells,):
        return f"must be boards of {cells} cells"
    if boards.dtype.kind not in "iu" or boards.min(initial=0) < 0:
        return "must be tokens"
    return f"hold a token beyond {tokens - 1}" if boards.max(initial=0) >= tokens else ""


# rollout.npz and attention.npz: the sizes of each array, by name. N, the number of puzzles, is the
# same in all of a file; the others follow from the study.
BOARDS = {"inputs": "NS", "labels": "NS", "z_L": "NTS", "z_H": "NTS",
          "violations_L": "NTS", "violations_H": "NTS"}  # fmt: skip
MAPS = {"inputs": "NS", "labels": "NS", "asked": "N", "near": "NS", "attention": "NG2LS",
        "board": "NGS", "violations": "NGS"}  # fmt: skip
KINDS = {"violations": "b", "violations_L": "b", "violations_H": "b", "near": "b", "asked": "i",
         "attention": "f"}  # fmt: skip


def misshapen(
    arrays: Mapping[str, np.ndarray], form: Mapping[str, str], sizes: Mapping[str, int]
) -> str:
    """What is wrong with the arrays of a file of ``form``; "" if nothing is."""
    for name, letters in form.items():
        if name not in arrays:
            return f"{name} is missing"
        known = {"2": 2, "N": len(arrays["inputs"]), **sizes}
        wanted = tuple(known[letter] for letter in letters)
        if arrays[name].shape != wanted:
            return f"{name} has shape {arrays[name].shape}, not {wanted}"
        if arrays[name].dtype.kind not in KINDS.get(name, "iu"):
            return f"{name} holds numbers of another kind ({arrays[name].dtype})"
    return ""


# reports/claims.yaml, reports/paper.yaml and reports/claims.json


class Strict(Form):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


class _Claim(Strict):
    title: str
    statement: str
    own: bool = False
    tasks: list[str]

    @model_validator(mode="after")
    def _about_each_task(self) -> Self:
        for key, value in self:
            if isinstance(value, dict) and set(value) != set(self.tasks):
                raise ValueError(f"{key}: must have a value for each of {', '.join(self.tasks)}")
        return self


class _Committed(_Claim):
    committed: Share


class _Directions(Strict):
    freeze_H: Literal[-1, 1]
    freeze_L: Literal[-1, 1]


class _Directed(_Claim):
    directions: dict[str, _Directions]
    failed: Share


class _Restored(_Claim):
    restored: float


class _Violations(_Claim):
    violations: list[str]


class _Margin(_Claim):
    margin: float


class _NoneByTask(_Claim):
    none: dict[str, float]


class _None(_Claim):
    none: float


class _Further(_Claim):
    """A claim that was added, with thresholds of its own."""

    model_config = ConfigDict(extra="allow")


class Claims(Form):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Further]

    C1: _Claim
    C2: _Committed
    C3: _Directed
    C4: _Restored
    C5: _Violations
    C6: _Margin
    X1: _NoneByTask
    X2: _None


class _Published(Form):
    mean: float
    std: float = 0.0


class _Normal(Form):
    z_L: float
    z_H: float


class _FrozenH(Form):
    z_L: float


class _FrozenL(Form):
    z_H: float


class _Freezing(Form):
    normal: _Normal
    freeze_H: _FrozenH
    freeze_L: _FrozenL


class _Control(Form):
    d_nbr: list[Ends]


class _Attended(Form):
    control: _Control


class Paper(Form):
    accuracy: dict[str, dict[str, _Published]]
    freeze: dict[str, _Freezing]
    attention: dict[str, _Attended]


class _OnTask(Form):
    verdict: Verdict


class _Judged(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, _OnTask]

    title: str
    verdict: Verdict


Judged = dict[str, _Judged]
