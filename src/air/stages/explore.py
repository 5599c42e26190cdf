"""The stage `explore`: a page that runs trained models in the reader's browser."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from air import paths
from air.explorer.config import ExploreConfig
from air.explorer.page import Explored, body, explored, tries
from air.explorer.recording import bytes_per_puzzle
from air.params import TaskParams, load_params
from air.reporting.pages import HERE, PAGES, digest
from air.reporting.study import Run, Study
from air.results.record import Record
from air.stages.inputs import subject
from air.tasks.registry import TASKS
from air.tasks.task import Puzzles
from air.writing import free, write_text

log = logging.getLogger(__name__)


def explore() -> Path:
    """Write reports/html/explore.html; the page."""
    params, study, page = load_params(), Study.load(), paths.page("explore")
    free(page)
    models: list[Explored] = []
    measures, puzzles, files = {}, dict[str, Puzzles](), [paths.PARAMS_CHECKED]
    for task in TASKS:
        section = params.task(task)
        config: ExploreConfig = section.explore
        runs = runs_shown(config, section)
        too_large = []
        for run in runs:
            with subject(task, *run) as of:
                model = of.model.to(of.device)
                fits = model.parameter_count <= config.most_parameters(len(runs))
                number = config.puzzles
                if not fits:
                    too_large.append(f"{run[0]} seed {run[1]}")
                    room = config.part(len(runs)) * 3 / 4 / bytes_per_puzzle(model)
                    number = max(1, min(number, int(room)))
                shown = of.puzzles.first(number)
                solved = study.solved(task, run)
                known = None if math.isnan(solved) else solved
                one = explored(model, task, run, shown, known, runs=fits)
                puzzles[task] = min(puzzles.get(task, shown), shown, key=len)
            models.append(one)
            probes: dict[str, Mapping[Run, Record]] = {
                "rollout": study.rollouts(task),
                "freeze": study.freezes(task),
                "attention": study.attentions(task),
            }
            measures[one.facts["id"]] = {
                name: found[run].content() for name, found in probes.items() if run in found
            }
            files.append(paths.run(task, *run) / "model.safetensors")
        if too_large:
            most = config.most_parameters(len(runs))
            log.info(
                f"explore: {task} {', '.join(too_large)}: more than {most:,} parameters, too large "
                f"for {task}.explore.megabytes {config.megabytes:g}; the page shows "
                f"recorded rollouts of {len(puzzles[task])} test puzzles instead"
            )
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


def runs_shown(config: ExploreConfig, section: TaskParams) -> list[Run]:
    """The runs on the page: (variant or name of an imported model, seed)."""
    probed = section.probes.rollout
    variants = probed.variants if config.variants is None else config.variants
    seeds = probed.seeds[:1] if config.seeds is None else config.seeds
    runs = [(variant, seed) for variant in variants for seed in seeds]
    return [*runs, *((name, 0) for name in section.imported)]
