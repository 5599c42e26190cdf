"""The stage `explore`: a page that runs trained models in the reader's browser."""

import math
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from air import paths
from air.explorer.page import Explored, body, explored, tries
from air.params import load_params
from air.reporting.pages import HERE, PAGES, digest
from air.reporting.study import Run, Study
from air.results.form import Form
from air.stages.inputs import subject
from air.tasks.registry import TASKS
from air.tasks.task import Puzzles
from air.writing import free, write_text


def explore() -> Path:
    """Write reports/html/explore.html; the page."""
    params, study, page = load_params(), Study.load(), paths.page("explore")
    free(page)
    models: list[Explored] = []
    measures, puzzles, files = {}, dict[str, Puzzles](), [paths.PARAMS_CHECKED]
    for task in TASKS:
        section = params.task(task)
        for run in section.explored():
            with subject(task, *run) as of:
                puzzles[task] = of.puzzles.first(section.explore.puzzles)
                solved = study.solved(task, run)
                known = None if math.isnan(solved) else solved
                one = explored(of.model, task, run[1], puzzles[task], known, of.device)
            models.append(one)
            probes: dict[str, Mapping[Run, Form]] = {
                "rollout": study.rollouts(task),
                "freeze": study.freezes(task),
                "attention": study.attentions(task),
            }
            measures[one.facts["id"]] = {
                name: found[run].content() for name, found in probes.items() if run in found
            }
            files.append(paths.run(task, *run) / "model.safetensors")
    templates = Environment(loader=FileSystemLoader(HERE), autoescape=False)
    precision = params.compute.precision
    text = templates.get_template("page.html.j2").render(
        name=page.stem,
        title="Explorer",
        pages=PAGES,
        sections=[],
        body=body(models, puzzles, tries(measures, models, puzzles), precision),
        provenance={
            "preset": params.preset,
            "parameters": digest(files[:1]),
            "models": digest(files[1:]),
        },
        style=(HERE / "page.css").read_text(encoding="utf-8"),
    )
    write_text(page, text)
    return page
