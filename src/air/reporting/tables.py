"""The tables of the report."""

import re
from collections import ChainMap
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from air.reporting import claims as judging
from air.reporting.claims import CLAIMS, read
from air.reporting.claims.claim import ByRun, Claim, Judged
from air.reporting.claims.groups import published_mean
from air.reporting.comparisons import regime
from air.reporting.display import Display, as_table, filled, missing
from air.reporting.sections import wording
from air.reporting.strips import KEY, strip
from air.reporting.study import EXPERIMENTS, Study


def claims(study: Study) -> Display:
    """The verdict on every claim at a glance, as ``air claims`` wrote them."""
    rows = _judged(study)
    plain = [
        {
            "claim": claim.number,
            "title": claim.title,
            "whose": "this project" if claim.own else "the paper",
            "task": study.tasks[task],
            "verdict": judged.on(task).verdict,
            "evidence": judged.on(task).evidence(),
        }
        for claim, judged, tasks in rows
        for task in tasks
    ]
    html = filled("glance.html.j2", rows=rows, tasks=study.studied)
    left_out = [title for task, title in study.tasks.items() if task not in study.studied]
    caption = "The claims and their verdicts in this study."
    if left_out:
        caption += f" It leaves out {' and '.join(left_out)}."
    return as_table(pd.DataFrame(plain), "claims", caption, html)


def _judged(study: Study) -> list[tuple[Claim, Judged, list[str]]]:
    """Every claim about a task of the study, its verdicts, and which of its tasks these are."""
    found = [
        (claim, judged, [task for task in claim.tasks if task in study.studied])
        for claim, judged in read()
    ]
    return [row for row in found if row[-1]]


def evidence(study: Study) -> Display:
    """Every claim with a picture for each task, a line of words, and its numbers to fold out."""
    rows = []
    for claim, judged, tasks in _judged(study):
        found = {study.tasks[task]: judged.on(task) for task in tasks}
        pictures = {
            study.tasks[task]: [
                strip(picture, f"{claim.number}, {study.tasks[task]}")
                for picture in claim.pictures(task, judged.on(task))
                if judged.on(task).verdict != "not run" or isinstance(judged.on(task), ByRun)
            ]
            for task in tasks
        }
        rows.append({"claim": claim, "found": found, "pictures": pictures})
    return Display(filled("claims.html.j2", rows=rows, key=KEY))


def rules() -> Display:
    """How verdicts come about, as the code says it, and the thresholds of each claim."""
    blocks = (judging.__doc__ or "").split("\n\n", 1)[1].strip().split("\n\n")
    details = dict.fromkeys(claim.details for claim in CLAIMS.values() if claim.details)
    blocks[-1] += "".join(f"\n- {one}" for one in details)  # the last is a list
    thresholds: dict[str, object] = {
        name: getattr(judging, name) for name in ("LEAST_RUNS", "SATURATED", "RISE", "LEARNED")
    }
    for number, claim in CLAIMS.items():
        thresholds |= {f"{number}: {key}": getattr(claim, key) for key in claim.thresholds}
    return Display(
        filled(
            "rules.html.j2",
            # a block is a paragraph, or a list whose items begin with a dash
            blocks=[
                (block.removeprefix("- ").split("\n- "), block[:2] == "- ") for block in blocks
            ],
            thresholds={name: _plain(value) for name, value in thresholds.items()},
            code=_code,
        )
    )


def _code(text: str) -> Markup:
    """Text in which names in double backticks are set as code."""
    return Markup(re.sub(r"``([\w ]+)``", r"<code>\1</code>", str(escape(text))))


def _plain(value: object) -> str:
    """A threshold in words: numbers, tuples and mappings."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {_plain(part)}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def accuracy(study: Study, task: str, experiment: str) -> Display:
    """Published and reproduced exact accuracy of an experiment's variants, and of its groups."""
    groups = study.groups(task, experiment)
    if not any(groups.values()):
        elsewhere = any(study.members(other, experiment) for other in study.tasks)
        said = f"{study.tasks[task]}: no variant of this experiment is part of this study."
        return missing(said) if elsewhere else Display("")  # the figure says it
    rows = []
    for name in study.members(task, experiment):
        spec = study.variants[name]
        published = study.published.accuracy.get(name, {}).get(task)
        rows.append(
            {
                "variant": name,
                "n_L": f"{spec.n_L:g}",
                "n_H": f"{spec.n_H:g}",
                **_of_runs(study, task, [name]),
                "published, %": published.mean if published else "",
                "published std": published.std if published and published.std is not None else "",
            }
        )
    for title, names in groups.items():
        if len(names) > 1:
            mean = published_mean(study, task, names)
            rows.append(
                {
                    "variant": f"all {title}",
                    **_of_runs(study, task, names),
                    "published, %": "" if mean is None else f"{100 * mean:.1f}",
                }
            )
    caption = (
        f"{study.tasks[task]}, {EXPERIMENTS[experiment]}: test puzzles solved, mean and standard "
        "deviation over training runs; training puzzles solved; whether learning had finished."
    )
    frame = pd.DataFrame(rows).fillna("")
    if not any(frame["training puzzles, %"]):  # older studies have not measured it
        frame = frame.drop(columns="training puzzles, %")
    return as_table(frame, f"accuracy-{task}-{experiment}", caption)


def _of_runs(study: Study, task: str, names: list[str]) -> dict[str, Any]:
    runs, of_training = study.group(task, names), study.group(task, names, "train_exact_accuracy")
    curves = [curve for run, curve in study.curves(task).items() if run[0] in names]
    return {
        "runs": len(runs),
        "here, %": f"{100 * runs.mean():.1f}" if len(runs) else "not run",
        "std": f"{100 * runs.std(ddof=1):.1f}" if len(runs) > 1 else "",
        "training puzzles, %": f"{100 * of_training.mean():.1f}" if len(of_training) else "",
        "regime": regime(curves, study.params.task(task).train).regime if len(runs) else "",
    }


def data(study: Study) -> Display:
    """Where each task's puzzles come from, how many there are, and what they are like."""
    parts = ("", "training", "test")  # in this order, those of all tasks together
    columns: dict[str, dict[str, dict[str, object]]] = {}
    for task, title in study.tasks.items():
        found = study.statistics(task)
        if found is None:
            continue
        entries: dict[str, object] = {"source": found.source}
        if found.revision:
            entries["source"] = f"{found.repo} at {found.revision[:12]}"
        entries |= {
            "board": found.board,
            "members per group": f"{found.members_per_group:,}",
            "test puzzles found in training, up to symmetry": (
                found.test_puzzles_in_train_up_to_symmetry
            ),
            "seed": found.seed,
        }
        shown: dict[str, dict[str, object]] = {"": entries}
        for split, name in (("train", "training"), ("test", "test")):
            of = found.splits.of(split)
            entries = shown[name] = {}
            entries[f"{name} puzzles"] = f"{of.puzzles:,}"
            entries[f"{name}: repeated up to symmetry"] = of.repeated_up_to_symmetry
            if found.files:
                file = found.files.of(split)
                skipped = sum(file.skipped_rows.values())
                entries[f"{name}: rows of the file (skipped)"] = f"{file.rows:,} ({skipped:,})"
                if file.outside_min_difficulty is not None:
                    outside = f"{file.outside_min_difficulty:,}"
                    entries[f"{name}: rows of another rating"] = outside
            for trait, value in of.traits.items():
                entries[f"{name}: {trait}"] = f"{value.mean:.1f} ({value.min} to {value.max})"
        rows, across = map(int, found.board.split(" x "))
        for trait in wording(task).shares:
            if trait in found.splits.train.traits:
                share = found.splits.train.traits[trait].mean / (rows * across)
                shown["training"][f"training: share of {trait}"] = f"{share:.2f}"
        columns[title] = shown
    if not columns:
        return missing("No data set has been made yet.")
    order = dict.fromkeys(name for part in parts for of in columns.values() for name in of[part])
    frame = pd.DataFrame(
        {title: pd.Series(dict(ChainMap(*of.values()))) for title, of in columns.items()}
    )
    frame = frame.reindex(list(order)).astype(object).fillna("")
    return as_table(frame.reset_index(names=""), "data", "The data sets of this study.")


STAGES = (
    "check",
    "data",
    "train",
    "evaluate",
    "rollout",
    "freeze",
    "attention",
    "emergence",
    "claims",
    "report",
)


def cost(study: Study) -> Display:
    """What the jobs of each stage took when they last ran, as Snakemake measured it."""
    jobs = study.costs()
    if jobs.empty:
        return missing("Snakemake has measured no job yet (`dvc repro` measures none).")
    ran, restored = jobs[~jobs["restored"]], jobs[jobs["restored"]]
    rows = []
    for stage in (*STAGES, *sorted(set(jobs["stage"]) - set(STAGES))):
        for task, title in (*study.tasks.items(), ("", "")):
            found, others = (
                which[(which["stage"] == stage) & (which["task"] == task)]
                for which in (ran, restored)
            )
            row: dict[str, Any] = {"stage": stage, "task": title}
            row |= {"jobs": len(found), "restored": len(others)}
            if len(found):
                row |= {
                    "mean": _time(found["seconds"].mean()),
                    "total": _time(found["seconds"].sum()),
                    "peak memory": f"{found['memory'].max() / 1024:.2f} GiB",
                }
            if len(found) or len(others):
                rows.append(row)
    total = {
        "stage": "all",
        "jobs": len(ran),
        "restored": len(restored),
        "total": _time(ran["seconds"].sum()),
    }
    frame = pd.DataFrame([*rows, total]).fillna("")
    return as_table(frame, "cost", "Time and memory of the jobs of each stage.")


def parameters(study: Study) -> Display:
    """How many numbers each variant learns."""
    columns = {}
    for task, title in study.tasks.items():
        runs = study.runs(task)
        if len(runs):
            columns[title] = runs.groupby("variant", sort=False)["parameters"].first()
    if not columns:
        return missing("No run has been evaluated yet.")
    names = dict.fromkeys(name for column in columns.values() for name in column.index)
    frame = pd.DataFrame(columns, index=list(names)).map(
        lambda n: "not run" if pd.isna(n) else f"{int(n):,}"
    )
    frame = frame.rename_axis("variant").reset_index()
    return as_table(frame, "parameters", "Learned parameters of each variant.")


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def setting(study: Study) -> Display:
    """What this study was configured to run, beside the paper's recipe."""
    paper = {
        "Transformer layers": 4,
        "width": 512,
        "heads": 8,
        "position code": "rope",
        "segments": 16,
        "optimiser steps": 26040,
        "batch": 768,
        "learning rate": 1e-4,
        "after the warm-up": "constant",
        "weight decay": 1.0,
        "moving average of the weights": "none",
        "continue logit": "yes",
        "training runs": "5 per variant",
    }
    columns = {}
    for task, title in study.studied.items():
        section = study.params.task(task)
        model, train = section.model, section.train
        values = [
            model.layers, model.hidden_size,
            model.heads if model.mixing == "attention" else "no attention", model.positions,
            model.max_segments, _steps(study, task), train.batch_size, train.lr,
            train.schedule, train.weight_decay, train.ema or "none",
            "yes" if train.q_continue else "no",
            f"{len(section.seeds)} per variant, {len(section.variants)} "
            f"variant{'s' if len(section.variants) > 1 else ''}",
        ]  # fmt: skip
        if section.imported:
            others = f"of others: {', '.join(section.imported)}"
            values = (
                [*values[:-1], f"{values[-1]}; {others}"]
                if section.variants
                else ([*[""] * (len(values) - 1), f"none; {others}"])
            )
        columns[title] = pd.Series(values, index=list(paper))
    columns["paper"] = pd.Series(paper)
    frame = pd.DataFrame(columns).reset_index(names="")
    return as_table(frame, "setting", "What was trained here, beside the paper's recipe.")


def _steps(study: Study, task: str) -> int | str:
    """Optimiser steps of a training; where the recipe gives epochs, those that a run has made."""
    train = study.params.task(task).train
    if train.steps:
        return train.steps
    made = [int(curve["step"].iloc[-1]) for curve in study.curves(task).values()]
    return made[0] if made else f"{train.epochs} epochs"
