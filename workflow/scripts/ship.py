"""The trained models that come with the project: models/PRESET/TASK/VARIANT.safetensors.

    python workflow/scripts/ship.py make    write those of the study, and the table of their card
    python workflow/scripts/ship.py use     put them where the study would have its own

`make` takes the variants that the explorer shows, first seed, at half their size, and counts what
the files that it has written solve. `use` lets the explorer and, of these variants, all probes but
emergence, which needs snapshots, run without a training: it makes the puzzles that are missing, and
leaves alone what is there.
"""

import hashlib
import logging
import re
import shutil
import sys

import torch

from air import paths
from air.checkpoint import load_model, save_short
from air.evaluation.accuracy import evaluate
from air.explorer.export import in_float64
from air.files import UserError, there
from air.model.network import AIR
from air.params import load_params
from air.stages.check import check
from air.stages.data import data
from air.stages.explore import runs_shown
from air.tasks.puzzles import load_puzzles
from air.tasks.registry import TASKS
from air.tasks.task import Puzzles
from air.verbosity import show
from air.writing import write_text

CARD = paths.MODELS / "README.md"
FIRST = 100  # test puzzles that a test solves again
log = logging.getLogger("air.ship")


def solved(model: AIR, puzzles: Puzzles) -> int:
    """How many puzzles a model solves, on the CPU."""
    found = evaluate(model, puzzles, min(len(puzzles), 256), torch.device("cpu"), silent=True)
    return round(found.exact_accuracy * len(puzzles))


def table(preset: str, lines: list[str]) -> str:
    """The part of the card that is made; what a test finds and renews."""
    begin, end = marks(preset)
    head = f"| model | seed | parameters | solved | of the first {FIRST} | SHA-256 |"
    return "\n".join([begin, "", head, "|---|---|---|---|---|---|", *lines, "", end])


def marks(preset: str) -> tuple[str, str]:
    return f"<!-- {preset}: made by workflow/scripts/ship.py -->", f"<!-- end of {preset} -->"


def make() -> None:
    """Write the models of the study and the table of their card.

    Raises:
        UserError: the study has not trained them, or the card has no place for them.
    """
    params = load_params()
    torch.set_num_threads(params.compute.threads)
    begin, end = marks(params.preset)
    place = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not (CARD.is_file() and place.search(CARD.read_text(encoding="utf-8"))):
        raise UserError(f"{CARD}: has no part between {begin} and {end}; write it first")
    models = {}
    for task in TASKS:
        section = params.task(task)
        shown = {variant for variant, _ in runs_shown(section.explore, section)}
        for variant in (name for name in section.variants if name in shown):
            run = (variant, section.seeds[0])
            models[task, run] = load_model(paths.run(task, *run) / "model.safetensors")
    lines = []
    for (task, (variant, seed)), model in models.items():
        path = paths.shipped(params.preset, task, variant)
        save_short(model, path, model.origin)
        short, puzzles = load_model(path), load_puzzles(paths.data(task, "test"))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        all_of_them = f"{solved(short, puzzles):,} of {len(puzzles):,}"
        # so exact that every machine decodes the same boards
        first = solved(in_float64(short), puzzles.first(FIRST))
        link = path.relative_to(paths.MODELS).as_posix()
        lines.append(
            f"| [{task}/{variant}]({link}) | {seed} | {short.parameter_count:,} | {all_of_them} "
            f"| {first} | `{digest}` |"
        )
        log.info("%s written: solves %s test puzzles", path, all_of_them)
    card = CARD.read_text(encoding="utf-8")
    write_text(CARD, place.sub(lambda _: table(params.preset, lines), card))


def use() -> None:
    """Copy the models of the preset to where its study keeps its own, and make what they need.

    Raises:
        UserError: no models come with the preset.
    """
    params = load_params()
    files = sorted((paths.MODELS / params.preset).glob("*/*.safetensors"))
    if not files:
        there_are = ", ".join(sorted(path.name for path in paths.MODELS.iterdir() if path.is_dir()))
        raise UserError(
            f"params.yaml: preset {params.preset}: no models come with it; there are: {there_are}"
        )
    check()
    for task in TASKS:
        if not paths.data(task, "test").exists():
            data(task)
    for file in files:
        task, variant, seed = file.parent.name, file.stem, load_model(file).origin["seed"]
        if variant not in params.task(task).variants or seed not in params.task(task).seeds:
            log.info("%s left out: params.yaml has no such run", file)
            continue
        target = paths.run(task, variant, seed) / "model.safetensors"
        if there(target):
            log.info("%s is there already, and stays", target)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        log.info("%s copied from %s", target, file)


if __name__ == "__main__":
    show(logging.INFO)
    commands = {"make": make, "use": use}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        commands[sys.argv[1]]()
    except UserError as error:
        log.error("%s", error)
        sys.exit(2)
