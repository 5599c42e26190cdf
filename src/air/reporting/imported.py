"""Models that others trained: what they are, where they are from, how many puzzles they solve."""

import pandas as pd

from air.reporting import figures
from air.reporting.display import Display, as_table, markup
from air.reporting.sections import text
from air.reporting.study import Run, Study
from air.results.imported import Imported


def imported(study: Study) -> list[Display]:
    """A part on them; nothing if the study has none."""
    if not any(study.imported(task) for task in study.tasks):
        return []
    return [
        Display(markup("<h2>Models that others trained</h2>")),
        text(
            "Read from their checkpoints and measured on the same puzzles. They were trained by "
            "recipes of their own, so no claim compares them with the models trained here."
        ),
        figures.accuracy(study, "imported"),
        _table(study),
    ]


def _table(study: Study) -> Display:
    """A column per model: what it is in our terms, and the checkpoint by its hash."""
    columns = {
        study.title(task, run): pd.Series(_entries(study, task, run, origin))
        for task in study.tasks
        for run, origin in study.imported(task).items()
        if origin is not None
    }
    frame = pd.DataFrame(columns)
    frame = frame.astype(object).fillna("").reset_index(names="")
    return as_table(frame, "imported", "The models that others trained, and their checkpoints.")


def _entries(study: Study, task: str, run: Run, origin: Imported) -> dict[str, object]:
    runs = study.runs(task)
    found = runs[runs["variant"] == run[0]]
    model, hub = origin.model, origin.hub
    entries: dict[str, object] = {
        "variant in our terms": origin.variant,
        "its code's name": origin.arch.split("@")[0],
        "parameters": f"{origin.parameters:,}",
        "layers, width": f"{model.layers}, {model.hidden_size}",
        "heads": model.heads if model.mixing == "attention" else "no attention",
        "position code": model.positions,
        "cycles H, L; segments": f"{model.H_cycles}, {model.L_cycles}; {model.max_segments}",
    }
    known = found["exact_accuracy"].dropna()
    entries["test puzzles solved, %"] = f"{100 * known.iloc[0]:.1f}" if len(known) else "unknown"
    return entries | {
        "source": origin.source,
        "commit": hub.commit[:12] if hub else "",
        "file": hub.file if hub else origin.file,
        "sha256 of the file": origin.sha256[:12],
        "steps kept": ", ".join(f"{kept.step:,}" for kept in origin.steps) or "the last alone",
    }
