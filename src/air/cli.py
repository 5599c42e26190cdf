"""The ``air`` command: parse and call. One command per stage of the study, run in its root."""

import errno
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from air import __version__, paths
from air.files import UserError, ensure_home
from air.verbosity import App, Quiet, Verbose, by_default, show

ClickException: Any = typer.BadParameter.__mro__[2]  # of typer's own click, by no other name
log = logging.getLogger("air.cli")  # also where this file is run as __main__

app = App(
    help="The stages of the AIR study, one command each. `snakemake --cores all` or `dvc repro` "
    "runs them all in order; they are configured by params.yaml in the current folder.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(given: bool) -> None:
    if given:
        print(f"air {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    by_default(context)


def _known_task(name: str | None) -> str | None:
    from air.tasks.registry import TASKS  # late: `air --help` is to be quick

    if name is not None and name not in TASKS:
        raise typer.BadParameter(f"{name!r} is not a task; there are {', '.join(TASKS)}")
    return name


def _tasks(incomplete: str) -> list[str]:
    from air.tasks.registry import TASKS

    return [name for name in TASKS if name.startswith(incomplete)]


def _variants(incomplete: str) -> list[str]:
    from air.model.variants import PAPER_VARIANTS

    return [name for name in PAPER_VARIANTS if name.startswith(incomplete)]


Task = Annotated[
    str, typer.Argument(help="which task", callback=_known_task, autocompletion=_tasks)
]
VariantName = Annotated[
    str,
    typer.Argument(
        help="a variant: one that `air variants` lists, or a name such as L3x_H",
        autocompletion=_variants,
    ),
]
Seed = Annotated[int, typer.Option(help="which training run", min=0, max=2**63 - 1)]


# Errors in writing a file that the user can fix: something is in its way.
IN_THE_WAY = {
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
    errno.ENOTDIR, errno.EPERM,
}  # fmt: skip


def main() -> None:
    """Run a command; what the user can fix ends in one sentence and exit code 2."""
    _run_the_code_of_this_folder()
    ensure_home()
    show(logging.INFO)
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], prog_name="air", standalone_mode=False))
    except UserError as error:
        log.error("%s", error)
        sys.exit(2)
    except ClickException as error:  # wrong arguments
        said = UserError(error.format_message().replace("Value error, ", "").rstrip("."))
        log.error("%s; see --help", said)
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "air") or package in sys.stdlib_module_names:
            raise  # a mistake of ours
        log.error("%s", _not_installed(package))
        sys.exit(2)
    except BrokenPipeError:  # nobody reads our output any more, such as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that cannot be written
        name = error.filename2 or error.filename or "cannot write"
        log.error("%s", UserError(f"{name}: {error.strerror}"))
        sys.exit(2 if error.errno in IN_THE_WAY else 1)


def _not_installed(package: str) -> UserError:
    return UserError(
        f"this command needs the package {package}, which is not installed; install the extra "
        "`pipeline`, in the project's folder: pip install '.[pipeline]'"
    )


def _run_the_code_of_this_folder() -> None:
    """Restart with the code of the current folder, if it is another copy of the project.

    DVC runs an experiment in a folder of its own (`--temp`, `--queue`) and hashes the code there,
    while what is installed is the code of the main folder, which may have changed since.
    """
    here, before = Path("src").resolve(), os.environ.get("PYTHONPATH", "")
    is_other = (here / "air/cli.py").is_file() and here != Path(__file__).resolve().parents[1]
    if is_other and str(here) not in before.split(os.pathsep):  # restart once at most
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(here), before]))
        again = "from air.cli import main; main()"
        os.execv(sys.executable, [sys.executable, "-c", again, *sys.argv[1:]])


@app.command(epilog="Example: air check")
def check(
    schema: Annotated[
        bool, typer.Option("--schema", help="print the JSON Schema of params.yaml instead")
    ] = False,
) -> None:
    """Check params.yaml and write it out in full, as results/params.json."""
    if schema:
        from air.params import schema as of_params

        print(json.dumps(of_params(), indent=2, ensure_ascii=False))
        return
    from air.stages.check import check as stage

    log.info("params.yaml is valid: preset %s", stage())


@app.command(epilog="Example: air variants")
def variants() -> None:
    """List the paper's 16 variants, what sets them apart, and their parameters at its sizes."""
    from air.model.config import ModelConfig
    from air.model.network import count_parameters
    from air.model.variants import PAPER_VARIANTS, Variant

    rows = [
        ("variant", "full name", "n_L", "n_H", "operator", "level token", "networks", "parameters")
    ]
    for name in PAPER_VARIANTS:
        v = Variant.parse(name)
        networks = "two" if v.two_networks else "one"
        total = f"{count_parameters(ModelConfig(), v, vocabulary=11, cells=81):,}"
        rows.append(
            (
                name,
                v.full_name,
                f"{v.n_L:g}",
                f"{v.n_H:g}",
                v.operator,
                v.level_token,
                networks,
                total,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )


@app.command(
    epilog="Example: air import-checkpoint checkpoints/step_26040 --seed 0 "
    "--output results/sudoku/Lx_H/seed0/model.safetensors, then: air evaluate sudoku Lx_H"
)
def import_checkpoint(
    path: Annotated[
        str,
        typer.Argument(
            help="a step_N file, all_config.yaml beside it, or a folder of several; or "
            "hub:OWNER/NAME[@REVISION][:FOLDER or :FOLDER/step_N]"
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="[default: model.safetensors beside PATH, or here]")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="the variant, if arch.name does not name it")
    ] = None,
    cells: Annotated[
        int | None, typer.Option(help="cells of a board, if not 81 or 900", min=1, max=65_536)
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="the task, if the vocabulary does not tell it", callback=_known_task),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="the seed to store it under [default: its own]", min=0)
    ] = None,
) -> None:
    """Rewrite a checkpoint of the authors', HRM's or TRM's training as our model.safetensors.

    Of a folder, the last step; the weights at all of them go into snapshots.safetensors beside it.
    """
    from air.conversion import convert

    convert(path, output, variant, cells, task, seed)


@app.command(
    "import",
    epilog="Example: air import sudoku HRM, with HRM among sudoku.imported in params.yaml",
)
def import_(
    task: Task,
    name: Annotated[str, typer.Argument(help="one of the task's `imported` in params.yaml")],
) -> None:
    """Import a model that others trained: results/TASK/NAME/seed0/model.safetensors.

    `checkpoints` in params.yaml says where it comes from. All other commands know it by its name.
    """
    from air.stages.import_ import import_ as stage

    stage(task, name)


@app.command(epilog="Example: air data sudoku")
def data(task: Task) -> None:
    """Make a task's training and test puzzles: data/TASK/."""
    from air.stages.data import data as stage

    stage(task)


@app.command(epilog="Example: air train sudoku Lx_H --seed 0")
def train(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Train one model: results/TASK/VARIANT/seedSEED/model.safetensors and training.csv.

    Stopped by Ctrl-C or SIGTERM, it saves its state; run again, it goes on from there.
    """
    from air.stages.train import train as stage

    if code := stage(task, variant, seed, sys.argv[1:]):
        sys.exit(code)


@app.command(
    epilog="Example: air evaluate sudoku Lx_H --seed 0, or the answers one by one: "
    "air evaluate sudoku Lx_H --predictions answers.jsonl"
)
def evaluate(
    task: Task,
    variant: VariantName,
    seed: Seed = 0,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="write the board, the halt logits and the segments of each test puzzle into this "
            "file instead, a line of JSON each"
        ),
    ] = None,
) -> None:
    """Measure a trained model's accuracy: evaluation.json and depth.csv.

    On the test puzzles, and on as many of those that it was trained on, each as it was given.
    """
    if predictions is not None:
        from air.predictions import predictions as write

        count, right = write(task, variant, seed, predictions)
        log.info(f"{predictions} written: {count:,} puzzles, {right:,} right")
        return
    from air.stages.evaluate import evaluate as stage

    stage(task, variant, seed)


@app.command(
    epilog="Example: air solve sudoku ..3.1.6.2.4.3...2....6..1...3.2..4.., or "
    "air solve sudoku --test 17 --watch, or air solve maze - < mazes.txt"
)
def solve(
    task: Task,
    puzzles: Annotated[
        list[str] | None,
        typer.Argument(help="boards line by line as one word each, files of such lines, or -"),
    ] = None,
    variant: Annotated[
        str, typer.Option(help="the model's variant", autocompletion=_variants)
    ] = "Lx_H",
    seed: Seed = 0,
    model: Annotated[
        Path | None,
        typer.Option(
            help="[default: results/TASK/VARIANT/seedSEED/model.safetensors, or that of models/]"
        ),
    ] = None,
    test: Annotated[int | None, typer.Option(help="a test puzzle of the study, from 0")] = None,
    watch: Annotated[bool, typer.Option(help="show both states after every update")] = False,
) -> None:
    """Let a trained model solve puzzles.

    A single puzzle is shown as a board. Of several, or if the output goes into a file or a pipe,
    each is one line: the answer, right or wrong, and the segment after which the model would have
    halted, separated by tabs.
    """
    from air.solving import answer

    answer(task, puzzles or [], model, (variant, seed), test, watch)


@app.command(
    epilog="Example: air rollout sudoku Lx_H --seed 0, then all boards of its first puzzles, "
    "a PDF each: air rollout sudoku Lx_H --sheets sheets"
)
def rollout(
    task: Task,
    variant: VariantName,
    seed: Seed = 0,
    sheets: Annotated[
        Path | None,
        typer.Option(help="draw the boards that rollout.npz has kept into this folder instead"),
    ] = None,
) -> None:
    """Decode z_L and z_H after every sub-step: rollout.json and rollout.npz."""
    if sheets is not None:
        from air.sheets import write_sheets

        files = write_sheets(task, variant, seed, sheets)
        log.info(f"{sheets}: {len(files)} sheets written")
        return
    from air.stages.rollout import rollout as stage

    stage(task, variant, seed)


@app.command(epilog="Example: air freeze maze Lx_H --seed 0")
def freeze(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Compare rollouts with z_H or z_L frozen to the normal one: freeze.json."""
    from air.stages.freeze import freeze as stage

    stage(task, variant, seed)


@app.command(epilog="Example: air attention sudoku Lx_H --seed 0")
def attention(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Contrast the attention of L- and H-updates: attention.json and attention.npz."""
    from air.stages.attention import attention as stage

    stage(task, variant, seed)


@app.command(epilog="Example: air emergence sudoku Lx_H --seed 0")
def emergence(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Probe a model at every snapshot of its training: emergence.json and emergence.npz."""
    from air.stages.emergence import emergence as stage

    stage(task, variant, seed)


@app.command(epilog="Example: air claims")
def claims() -> None:
    """Judge the paper's claims by the results: reports/claims.json."""
    from air.stages.claims import claims as stage

    for name, verdict in stage().items():
        log.info("%s: %s", name, verdict)


@app.command(epilog="Example: air report index")
def report(
    notebook: Annotated[str, typer.Argument(help="a notebook in reports/, without .ipynb")],
) -> None:
    """Run a notebook and render it: reports/html/NOTEBOOK.html, and its figures in files/."""
    from air.stages.report import report as stage

    log.info("%s written", stage(notebook))


@app.command(epilog="Example: air explore, then open reports/html/explore.html")
def explore() -> None:
    """Make a page that runs trained models in the browser: reports/html/explore.html."""
    from air.stages.explore import explore as stage

    log.info("%s written", stage())


@app.command(epilog="Example: air verify, or against another commit: air verify --against HEAD~1")
def verify(
    against: Annotated[str, typer.Option(help="a commit, branch or tag")] = "HEAD",
) -> None:
    """Compare what is on disk with what is committed, stage by stage.

    Numbers are the same within 0.001 + 1 % of the committed one. Exit code 1 if any differs by
    more, if something is not there, or if a verdict has changed.
    """
    from air.verification import changed_verdicts, compare

    found = compare(against)
    width = max(map(len, found), default=0)
    for name, one in found.items():
        detail = f", by at most {one.largest:.3g}" if one.largest else ""
        detail += f" ({one.where})" if one.where else ""
        print(f"{name:{width}}  {one.outcome}{detail}")
    verdicts = changed_verdicts(against)
    for line in verdicts:
        print(f"verdict of {line}")
    outcomes = [one.outcome for one in found.values()]
    counts = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in dict.fromkeys(outcomes))
    print(f"{len(found)} stages: {counts}; {len(verdicts) or 'no'} verdicts changed")
    if verdicts or "different" in outcomes or "not made" in outcomes:
        sys.exit(1)


@app.command(epilog="Example: air publish")
def publish() -> None:
    """Keep the study's pages and metrics with the project: reports/published/PRESET/."""
    from air.reporting.pages import publish as copy
    from air.reporting.study import Study

    study = Study.load()
    target = paths.PUBLISHED / study.params.preset
    copy(study, target)
    log.info("%s written", target)


@app.command(epilog="Example: air scales --write")
def scales(
    write: Annotated[
        bool, typer.Option("--write", help="put the tables into README.md and docs/scales.md")
    ] = False,
) -> None:
    """Put the published studies side by side: what they trained, and the verdicts, in Markdown."""
    from air import scales as compared

    for path, table in compared.tables().items():
        print(f"{path}\n\n{table}\n")
    if write:
        compared.write()


@app.command(epilog="Example: air bundle, then: air bundle --check air-mini.zip")
def bundle(
    output: Annotated[Path | None, typer.Option(help="[default: air-PRESET.zip]")] = None,
    check: Annotated[
        Path | None, typer.Option(help="verify the hash of every file of this bundle instead")
    ] = None,
) -> None:
    """Write the whole study as one archive that others can check: an RO-Crate."""
    from air import bundle as bundling
    from air.reporting.study import Study

    if check is not None:
        count, faults = bundling.check(check)
        for line in faults:
            print(line)
        print(f"{check}: {count} files, {len(faults) or 'nothing'} wrong")
        sys.exit(1 if faults else 0)
    target = output or Path(f"air-{Study.load().params.preset}.zip")
    count = bundling.write(target)
    log.info(f"{target} written: {count} files, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
