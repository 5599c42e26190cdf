"""The published studies side by side: what each one trained, and what came of every claim.

``air scales`` makes the tables of README.md and docs/scales.md from ``reports/published/``, of
whatever studies are kept there.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ConfigDict

from air import paths
from air.files import UserError, read_json, reading
from air.reporting.claims import CLAIMS
from air.reporting.claims.claim import PROBED, Verdict
from air.reporting.inputs import Checked, Section
from air.results.evaluation import Evaluation
from air.results.record import Record
from air.results.statistics import Statistics
from air.writing import write_text

BEGIN, END = "<!-- made by `air scales --write` -->", "<!-- end of what it made -->"
README, GUIDE = Path("README.md"), Path("docs/scales.md")
STRONG = ("holds", "fails")


class _OnTask(Record):
    verdict: Verdict


class _Claim(Record):
    """Of a claim's entry, the verdict on each task: studies may be older than parts of the rest."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _OnTask]

    title: str
    verdict: Verdict


@dataclass(frozen=True)
class Kept:
    """A published study."""

    folder: Path
    checked: Checked
    claims: dict[str, _Claim]

    @classmethod
    def read(cls, folder: Path) -> "Kept":
        """The study that is published in ``folder``.

        Raises:
            UserError: a file of it is missing or damaged.
        """
        return cls(
            folder,
            read_json(folder / paths.PARAMS_CHECKED, Checked),
            read_json(folder / paths.CLAIMS, dict[str, _Claim]),
        )

    @property
    def tasks(self) -> dict[str, str]:
        """The titles of the tasks that it has runs of, by name."""
        return {
            task: title for task, title in self.checked.tasks.items() if self.section(task).variants
        }

    def section(self, task: str) -> Section:
        """The parameters of a task."""
        return self.checked.params.task(task)

    def evaluations(self, task: str) -> list[Evaluation]:
        """What the study's runs of Lx_H solve; results of other seeds may be kept beside them."""
        runs = (paths.run(task, PROBED, seed) for seed in self.section(task).seeds)
        files = [self.folder / run / "evaluation.json" for run in runs]
        return [read_json(path, Evaluation) for path in files if path.exists()]

    def statistics(self, task: str) -> Statistics:
        """What its puzzles are like."""
        return read_json(self.folder / paths.statistics(task), Statistics)

    def steps(self, task: str) -> int | None:
        """Optimiser steps of a training; where the recipe gives epochs, those that a run has made.

        None: no run of the task is kept.

        Raises:
            UserError: a training.csv is damaged.
        """
        if given := self.section(task).train.steps:
            return given
        for path in sorted((self.folder / "results" / task).glob("*/*/training.csv")):
            with reading(path, "a CSV file", ValueError):  # pandas' own errors are ValueErrors
                made = pd.read_csv(path).get("step", pd.Series())
                if not len(made) or made.dtype.kind != "i":
                    raise ValueError("it has no column step of whole numbers")
                return int(made.iloc[-1])
        return None

    def size(self) -> tuple[int, ...]:
        """By what studies are sorted: the width and depth of models, then how long they learn."""
        found = []
        for task in self.tasks:
            model, batch = self.section(task).model, self.section(task).train.batch_size
            found.append((model.hidden_size, model.layers, (self.steps(task) or 0) * batch))
        return max(found)


def published() -> list[Kept]:
    """Every published study that has trained models, from small to large.

    Raises:
        UserError: there is none, or a file of one is missing or damaged.
    """
    folders = [path.parents[1] for path in paths.PUBLISHED.glob(f"*/{paths.CLAIMS.as_posix()}")]
    if not folders:
        raise UserError(f"{paths.PUBLISHED}: no study is kept there; air publish keeps one")
    studies = [study for study in map(Kept.read, folders) if study.tasks]
    return sorted(studies, key=lambda study: (study.size(), study.folder.name))


# What studies differ in: a line's name, and what it says of a task.

Line = tuple[str, Callable[[Kept, str], str]]


def _puzzles(study: Kept, task: str) -> str:
    found = study.statistics(task)
    name, trait = next(iter(found.splits.test.traits.items()))
    return f"{found.board}, {trait.mean:.0f} {name}"


def _model(study: Kept, task: str) -> str:
    model = study.section(task).model
    return f"{model.layers}, {model.hidden_size}"


def _steps(study: Kept, task: str) -> str:
    train, steps = study.section(task).train, study.steps(task)
    return f"{f'{steps:,}' if steps else f'{train.epochs} epochs'} x {train.batch_size}"


def _schedule(study: Kept, task: str) -> str:
    train = study.section(task).train
    ends = "" if train.schedule == "constant" else f" down to {train.lr * train.lr_final:g}"
    return f"{train.lr:g}, {train.schedule}{ends}"


def _mean(study: Kept, task: str) -> str:
    return str(study.section(task).train.ema or "none")


def _runs(study: Kept, task: str) -> str:
    section = study.section(task)
    return f"{len(section.variants)} x {len(section.seeds)}"


def _solved(study: Kept, task: str) -> str:
    shares = [run.exact_accuracy for run in study.evaluations(task)]
    return f"{100 * sum(shares) / len(shares):.0f} %" if shares else "not run"


def _learned(study: Kept, task: str) -> str:
    runs = study.evaluations(task)
    return f"{runs[0].parameters:,}" if runs else "not run"


SHORT: list[Line] = [
    ("puzzles", _puzzles),
    ("layers, width", _model),
    ("optimiser steps x batch", _steps),
    ("variants x runs", _runs),
    (f"test puzzles that {PROBED} solves", _solved),
]
LONG: list[Line] = [
    *SHORT[:2],
    (f"numbers that {PROBED} learns", _learned),
    ("position code", lambda study, task: study.section(task).model.positions),
    ("segments", lambda study, task: str(study.section(task).model.max_segments)),
    *SHORT[2:3],
    ("learning rate", _schedule),
    ("moving average of the weights", _mean),
    *SHORT[3:],
]


def table(studies: Iterable[Kept], lines: Iterable[Line], root: str = "") -> str:
    """A Markdown table of a column for each study: ``lines``, then a row for each claim.

    Where tasks differ, a cell has a line for each; a study of one task says which in its title.

    Args:
        root: of the repository, as seen from the file that the table is for.
    """
    studies = list(studies)
    heads = []
    for study in studies:
        name = study.folder.name
        alone = "" if len(study.tasks) > 1 else f" ({', '.join(study.tasks.values())})"
        heads.append(f"[`{name}`]({root}{paths.PUBLISHED.as_posix()}/{name}/html){alone}")
    rows = [["", *heads]]
    for title, value_of in lines:
        rows.append(
            [title, *(_cell(one, {t: value_of(one, t) for t in one.tasks}) for one in studies)]
        )
    for number, claim in CLAIMS.items():
        whose = " (ours)" if claim.own else ""
        rows.append(
            [f"{number} {claim.title}{whose}", *(_verdicts(one, number) for one in studies)]
        )
    written = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([written[0], "|---" * len(rows[0]) + "|", *written[1:]])


def _verdicts(study: Kept, number: str) -> str:
    judged = study.claims.get(number)
    if judged is None:
        return "not judged"  # published before there was the claim
    found = {}
    for task in study.tasks:
        if task in judged.__pydantic_extra__:
            verdict = judged.__pydantic_extra__[task].verdict
            found[task] = f"**{verdict}**" if verdict in STRONG else verdict
    return _cell(study, found)


def _cell(study: Kept, by_task: dict[str, str]) -> str:
    if len(set(by_task.values())) <= 1:
        return next(iter(by_task.values()), "")
    return "<br>".join(f"{study.tasks[task]} {value}" for task, value in by_task.items())


def tables() -> dict[Path, str]:
    """The table of each file that shows one."""
    studies = published()
    return {README: table(studies, SHORT), GUIDE: table(studies, LONG, "../")}


def write() -> None:
    """Put the tables into the files that show them, between the two marks.

    Raises:
        UserError: a file is missing, or has not both marks; nothing is written then.
    """
    texts = {}
    marked = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    for path, made in tables().items():
        with reading(path, "a text file", UnicodeDecodeError, absent="restore it with git"):
            text = path.read_text(encoding="utf-8")
        before, *after = marked.split(text)
        if len(after) != 1:
            raise UserError(f"{path}: must have the lines {BEGIN} and {END}, once, for the table")
        texts[path] = f"{before}{BEGIN}\n\n{made}\n\n{END}{after[0]}"
    for path, text in texts.items():
        write_text(path, text)
