"""The tables of the report."""

import re
from html import escape
from typing import Any

import pandas as pd

from air import paths
from air.files import UserError, read_json
from air.reporting import claims as judging
from air.reporting import forms
from air.reporting.claims import LEARNED
from air.reporting.comparisons import regime
from air.reporting.sections import wording
from air.reporting.shown import Shown, as_table, missing
from air.reporting.study import EXPERIMENTS, Study

OWN = " <span class='own'>not in the paper</span>"


def claims(study: Study) -> Shown:
    """Every claim with its verdict, as ``air claims`` wrote them."""
    verdicts = {k: v.model_dump() for k, v in read_json(paths.CLAIMS, forms.Judged).items()}
    rows, plain = [], []
    for name, text in study.claims.items():
        claim = verdicts.get(name, {})
        told = {task: _told(name, task, claim) for task in text["tasks"]}
        for task in text["tasks"]:
            plain.append(
                {
                    "claim": name,
                    "title": text["title"],
                    "whose": "this project" if text.get("own") else "the paper",
                    "task": study.tasks[task],
                    "verdict": claim[task]["verdict"],
                    "evidence": told[task],
                }
            )
        tasks = "".join(
            f"<p><b>{study.tasks[task]}</b> {_badge(claim[task]['verdict'])} "
            f"{escape(told[task], quote=False)}</p>"
            for task in text["tasks"]
        )
        rows.append(
            f"<tr><th scope='row'>{name}</th><td><b>{escape(text['title'])}</b>"
            f"{OWN if text.get('own') else ''}"
            f"<p>{escape(text['statement'])}</p></td>"
            f"<td>{_badge(claim['verdict'])}</td><td>{tasks}</td></tr>"
        )
    titles = ("No.", "Claim", "Here", "What was measured")
    head = "<tr>" + "".join(f"<th scope='col'>{title}</th>" for title in titles) + "</tr>"
    body = "".join(rows)
    html = f"<table class='claims'><thead>{head}</thead><tbody>{body}</tbody></table>"
    return as_table(pd.DataFrame(plain), "claims", "The claims and what came of them here.", html)


def _told(name: str, task: str, claim: dict[str, Any]) -> str:
    try:
        return evidence(name, claim[task])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{paths.CLAIMS}: {name}.{task} is not what `air claims` writes "
            f"({type(error).__name__}: {error}); run it again"
        ) from None


def rules(study: Study) -> Shown:
    """How verdicts come about, as the code says it, and the thresholds of each claim."""
    text = escape(judging.__doc__ or "").split("\n\n", 1)[1]
    blocks = []
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            items = "".join(f"<li>{item}</li>" for item in block[2:].split("\n- "))
            blocks.append(f"<ul>{items}</ul>")
        else:
            blocks.append(f"<p>{block}</p>")
    html = re.sub(r"``([\w ]+)``", lambda found: f"<code>{found[1]}</code>", "".join(blocks))
    words = {"title", "statement", "tasks", "own"}
    thresholds: dict[str, Any] = {
        name: getattr(judging, name) for name in ("LEAST_RUNS", "SATURATED", "RISE", "LEARNED")
    }
    for name, claim in study.claims.items():
        thresholds |= {f"{name}: {key}": claim[key] for key in claim if key not in words}
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(_plain(value))}</td></tr>"
        for name, value in thresholds.items()
    )
    return Shown(
        f"<details><summary>The rules, and their thresholds</summary>{html}"
        f"<table><thead><tr><th>threshold</th><th>value</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _plain(value: Any) -> str:
    """A threshold in words: numbers, lists and mappings."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {_plain(part)}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def evidence(claim: str, found: dict[str, Any]) -> str:
    """The figures behind a verdict on one task, in a sentence or two."""
    if found["verdict"] == "not run":
        return "The runs it needs are not part of this study."
    unlearned = [
        f"{run.capitalize()} solves {_percent(entry['solved'])} of the test puzzles: too few to "
        "say what a model does that has learned its task."
        for run, entry in _by_run(found)
        if not (entry["solved"] or 0) > LEARNED
    ]
    return " ".join([_figures(claim, found), *unlearned])


def _figures(claim: str, found: dict[str, Any]) -> str:
    match claim:
        case "C1":
            ours, others = found["asymmetric"], found["symmetric"]
            return (
                f"{_percent(ours['exact_accuracy'])} of puzzles solved by {_runs(ours)} of "
                f"asymmetric variants, {_percent(others['exact_accuracy'])} by {_runs(others)} of "
                f"symmetric ones{_interval(found)}{_published(found)}. {_judged_in(found)}"
            )
        case "C2":
            return " ".join(
                f"Undecided in {run}: {_percent(entry['z_L']['undecided'])} of z_L's cells, "
                f"{_percent(entry['z_H']['undecided'])} of z_H's."
                for run, entry in _by_run(found)
            )
        case "C3":
            return " ".join(
                f"{run}: z_H frozen, z_L's content changes {_signed(entry['freeze_H'])}; "
                f"z_L frozen, z_H's {_signed(entry['freeze_L'])}; accuracy "
                f"{_percent(entry['normal_accuracy'])}, frozen "
                f"{_percent(entry['freeze_H']['exact_accuracy'])} and "
                f"{_percent(entry['freeze_L']['exact_accuracy'])}."
                for run, entry in _by_run(found)
            )
        case "C4":
            tokens = [name for name in found if name.startswith("level_token")]
            regained = "; ".join(
                f"{name.removeprefix('level_token_')} {_share(found[name].get('restored'))}"
                for name in tokens
            )
            low, high = found.get("gap_interval", (None, None))
            gap = f"Lx_H less L2x_H2x {100 * found['gap']:+.1f} points"
            if low is not None:
                gap += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
                if low <= 0:
                    gap += ", so that no gap is established"
            return f"{gap}. Share of the gap regained: {regained}. {_judged_in(found)}"
        case "C5":
            return " ".join(
                f"{run}: contrast per layer {_layers(entry)}"
                + (f", on violations {_layers(entry['d_viol'])}." if "d_viol" in entry else ".")
                for run, entry in _by_run(found)
            )
        case "X1" | "X2":
            what = "Attention nearby, L less H" if claim == "X1" else "Margin, z_H less z_L"
            return f"{what}: " + "; ".join(
                f"{run.replace('seed', 'seed ')} {_number(entry['effect'])} "
                f"[{', '.join(_number(end) for end in entry['interval'])}]"
                + ("" if (entry["solved"] or 0) > LEARNED else " (has not learned)")
                for run, entry in found["runs"].items()
            )
        case _:
            accuracies = "; ".join(
                f"{name} {_percent(entry['exact_accuracy'])}{_points(entry)}"
                for name, entry in found.items()
                if isinstance(entry, dict) and entry.get("runs")
            )
            return f"{accuracies}. {_judged_in(found)}"


def accuracy(study: Study, task: str, experiment: str) -> Shown:
    """Published and reproduced exact accuracy of an experiment's variants, and of its groups."""
    groups = study.groups(task, experiment)
    if not any(groups.values()):
        elsewhere = any(study.members(other, experiment) for other in study.tasks)
        said = f"{study.tasks[task]}: no variant of this experiment is part of this study."
        return missing(said) if elsewhere else Shown("")  # the figure says it
    rows = []
    for name in study.members(task, experiment):
        says = study.variants[name]
        published = study.published.accuracy.get(name, {}).get(task)
        rows.append(
            {
                "variant": name,
                "n_L": f"{says.n_L:g}",
                "n_H": f"{says.n_H:g}",
                **_of_runs(study, task, [name]),
                "published, %": published.mean if published else "",
                "published std": published.std if published and published.std is not None else "",
            }
        )
    for title, names in groups.items():
        if len(names) > 1:
            mean = judging.published_mean(study, task, names)
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
        "regime": regime(curves, study.params.task(task).train)["regime"] if len(runs) else "",
    }


def data(study: Study) -> Shown:
    """Where each task's puzzles come from, how many there are, and what they are like."""
    columns = {}
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
        for split, name in (("train", "training"), ("test", "test")):
            of = found.splits.of(split)
            entries[f"{name} puzzles"] = f"{of.puzzles:,}"
            entries[f"{name}: repeated up to symmetry"] = of.repeated_up_to_symmetry
            if found.files:
                file = found.files.of(split)
                skipped = sum(file.skipped_rows.values())
                entries[f"{name}: rows of the file, skipped"] = f"{file.rows:,}, {skipped:,}"
                if file.outside_min_difficulty is not None:
                    outside = f"{file.outside_min_difficulty:,}"
                    entries[f"{name}: rows of another rating"] = outside
            for trait, value in of.traits.items():
                entries[f"{name}: {trait}"] = f"{value.mean:.1f} ({value.min} to {value.max})"
        rows, across = map(int, found.board.split(" x "))
        for trait in wording(task).shares:
            if trait in found.splits.train.traits:
                share = found.splits.train.traits[trait].mean / (rows * across)
                entries[f"training: share of {trait}"] = f"{share:.2f}"
        columns[title] = pd.Series(entries)
    if not columns:
        return missing("No data set has been made yet.")
    order = list(dict.fromkeys(name for column in columns.values() for name in column.index))
    frame = pd.DataFrame(columns).reindex(order).astype(object).fillna("")
    return as_table(frame.reset_index(names=""), "data", "The data sets of this study.")


STAGES = (
    "check",
    "data",
    "train",
    "evaluate",
    "rollout",
    "freeze",
    "attention",
    "claims",
    "report",
)


def cost(study: Study) -> Shown:
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
                    "all together": _time(found["seconds"].sum()),
                    "peak memory": f"{found['memory'].max() / 1024:.2f} GiB",
                }
            if len(found) or len(others):
                rows.append(row)
    total = {
        "stage": "all",
        "jobs": len(ran),
        "restored": len(restored),
        "all together": _time(ran["seconds"].sum()),
    }
    frame = pd.DataFrame([*rows, total]).fillna("")
    return as_table(frame, "cost", "Time and memory of the jobs of each stage.")


def parameters(study: Study) -> Shown:
    """How many numbers each variant learns."""
    columns = {}
    for task, title in study.tasks.items():
        runs = study.runs(task)
        if len(runs):
            columns[title] = runs.groupby("variant", sort=False)["parameters"].first()
    if not columns:
        return missing("No run has been evaluated yet.")
    frame = pd.DataFrame(columns).map(lambda n: "not run" if pd.isna(n) else f"{int(n):,}")
    frame = frame.rename_axis("variant").reset_index()
    return as_table(frame, "parameters", "Learned parameters of each variant.")


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def setting(study: Study) -> Shown:
    """What this study was configured to run, beside the paper's recipe."""
    paper = {
        "Transformer layers": 4,
        "width": 512,
        "heads": 8,
        "position code": "rope",
        "segments": 16,
        "optimiser steps": 26041,
        "batch": 768,
        "learning rate": 1e-4,
        "after the warm-up": "constant",
        "weight decay": 1.0,
        "running mean of the weights": "none",
        "continue logit": "yes",
        "training runs": "5 per variant",
    }
    columns = {}
    for task, title in study.tasks.items():
        section = study.params.task(task)
        model, train = section.model, section.train
        values = [
            model.layers, model.hidden_size, model.heads, model.positions,
            model.max_segments, train.steps, train.batch_size, train.lr,
            train.schedule, train.weight_decay, train.ema or "none",
            "yes" if train.q_continue else "no",
            f"{len(section.seeds)} per variant, {len(section.variants)} variants"
            if section.variants else "left out",
        ]  # fmt: skip
        columns[title] = pd.Series(values, index=list(paper))
    columns["paper"] = pd.Series(paper)
    frame = pd.DataFrame(columns).reset_index(names="")
    return as_table(frame, "setting", "What was trained here, beside the paper's recipe.")


def _badge(verdict: str) -> str:
    return f"<span class='verdict {verdict.replace(' ', '-')}'>{verdict}</span>"


def _by_run(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name.replace("seed", "seed "), entry)
        for name, entry in found.items()
        if name.startswith("seed")
    ]


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.0f} %"


def _runs(group: dict[str, Any]) -> str:
    return f"{group['runs']} run" + ("s" if group["runs"] != 1 else "")


def _interval(found: dict[str, Any]) -> str:
    if "interval" not in found:
        return "; too few runs for an interval"
    low, high = found["interval"]
    told = f"; difference between {100 * low:+.1f} and {100 * high:+.1f} points"
    if found.get("runs_to_decide"):
        told += f"; about {found['runs_to_decide']:,} runs per group would decide"
    return told


def _points(entry: dict[str, Any]) -> str:
    """How far a group is from the one it is compared with, in points."""
    if "interval" not in entry:
        return ""
    return " [" + ", ".join(f"{100 * end:+.1f}" for end in entry["interval"]) + "]"


def _judged_in(found: dict[str, Any]) -> str:
    """The regime of a comparison, and what follows for the verdict."""
    match found["regime"]:
        case "still learning":
            return (
                "Judged while still learning, so it decides nothing about models that have "
                "finished: the difference may be one of speed."
            )
        case "unknown":
            return "Whether these models had finished learning is unknown."
        case _:
            return "Judged on converged models."


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:+.3f}"


def _published(found: dict[str, Any]) -> str:
    published = found.get("published")
    return f" (published {100 * published:+.1f})" if published is not None else ""


def _layers(contrast: dict[str, Any]) -> str:
    return " and ".join("-" if mean is None else f"{mean:+.3f}" for mean in contrast["mean"])


def _signed(effect: dict[str, Any]) -> str:
    low, high = effect["interval"]
    return f"{effect['content_changes']:+.1f} [{low:+.1f}, {high:+.1f}]"
