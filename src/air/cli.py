"""The ``air`` command: parse, call, write. One command per stage of the study, run in its root."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from air import paths
from air.files import UserError, ensure_home, free, write_arrays, write_json, write_text

if TYPE_CHECKING:
    import torch

    from air.model.network import AIR
    from air.params import Params
    from air.tasks.task import Puzzles

ClickException: Any = typer.BadParameter.__mro__[2]  # of typer's own click, by no other name

app = typer.Typer(
    help="The stages of the AIR study, one command each. `snakemake --cores all` or `dvc repro` "
    "runs them all in order; every command reads params.yaml in the current folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _known_task(name: str | None) -> str | None:
    from air.tasks.registry import TASKS  # late: `air --help` is to be quick

    if name is not None and name not in TASKS:
        raise typer.BadParameter(f"{name!r} is not a task; there are {', '.join(TASKS)}")
    return name


Task = Annotated[str, typer.Argument(help="which task", callback=_known_task)]
VariantName = Annotated[
    str, typer.Argument(help="a variant: one that `air variants` lists, or a name such as L3x_H")
]
Seed = Annotated[int, typer.Option(help="which training run", min=0, max=2**63 - 1)]


# Of what the system says of a file to be written, what a user can mend: something is in its way.
IN_THE_WAY = {
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
    errno.ENOTDIR, errno.EPERM,
}  # fmt: skip


def main() -> None:
    """Run a command; what a user can mend ends in one sentence and exit code 2."""
    _run_the_code_of_this_folder()
    ensure_home()
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except UserError as error:
        print(f"air: {error}", file=sys.stderr)
        sys.exit(2)
    except ClickException as error:  # arguments that are none
        said = UserError(error.format_message().replace("Value error, ", "").rstrip("."))
        print(f"air: {said}; see --help", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that cannot be written
        name = error.filename2 or error.filename or "cannot write"
        print(f"air: {UserError(f'{name}: {error.strerror}')}", file=sys.stderr)
        sys.exit(2 if error.errno in IN_THE_WAY else 1)


def _run_the_code_of_this_folder() -> None:
    """Start anew with the code of the folder we are in, if it is another copy of the project.

    DVC runs an experiment in a folder of its own (`--temp`, `--queue`) and hashes the code there,
    while what is installed is the code of the main folder, which may have changed since.
    """
    here, before = Path("src").resolve(), os.environ.get("PYTHONPATH", "")
    is_other = (here / "air/cli.py").is_file() and here != Path(__file__).resolve().parents[1]
    if is_other and str(here) not in before.split(os.pathsep):  # asked for once: never in a circle
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(here), before]))
        again = "from air.cli import main; main()"
        os.execv(sys.executable, [sys.executable, "-c", again, *sys.argv[1:]])


@app.command(epilog="Example: air check")
def check() -> None:
    """Check params.yaml and write it out in full, as results/params.json."""
    from dataclasses import asdict

    from air.model.variants import Variant
    from air.params import load_params
    from air.tasks.registry import TASKS

    checked = load_params()
    names = dict.fromkeys(name for task in TASKS for name in checked.task(task).variants)
    says = {name: asdict(Variant.parse(name)) for name in names}
    titles = {name: kind.task.title for name, kind in TASKS.items()}
    content = {"tasks": titles, "params": checked.model_dump(mode="json"), "variants": says}
    write_json(paths.PARAMS_CHECKED, content)
    print(f"params.yaml is valid: preset {checked.preset}")


@app.command(epilog="Example: air variants")
def variants() -> None:
    """List the paper's 16 variants, what sets them apart, and their parameters at its sizes."""
    from air.model.config import ModelConfig
    from air.model.network import count_parameters
    from air.model.variants import PUBLISHED, Variant

    rows = [("variant", "says", "n_L", "n_H", "operator", "level token", "networks", "parameters")]
    for name in PUBLISHED:
        v = Variant.parse(name)
        networks = "two" if v.two_networks else "one"
        total = f"{count_parameters(ModelConfig(), v, vocabulary=11, cells=81):,}"
        rows.append(
            (name, v.says, f"{v.n_L:g}", f"{v.n_H:g}", v.operator, v.level_token, networks, total)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )


@app.command(
    epilog="Example: air import-checkpoint checkpoints/step_26041 --seed 0 "
    "--output results/sudoku/Lx_H/seed0/model.safetensors, then: air evaluate sudoku Lx_H"
)
def import_checkpoint(
    path: Annotated[Path, typer.Argument(help="a step_N file; all_config.yaml lies beside it")],
    output: Annotated[
        Path | None, typer.Option(help="[default: model.safetensors beside PATH]")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="if arch.name does not say it")] = None,
    cells: Annotated[
        int | None, typer.Option(help="cells of a board, if not 81 or 900", min=1, max=65_536)
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="if the vocabulary does not say it", callback=_known_task),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="which run it is here, if not the seed it had", min=0)
    ] = None,
) -> None:
    """Rewrite a checkpoint of the authors' implementation as our model.safetensors."""
    from air.checkpoint import save_model
    from air.published import import_checkpoint as read

    target = output or path.parent / "model.safetensors"
    if os.path.realpath(target) == os.path.realpath(path):
        raise UserError(f"{target}: is the checkpoint itself; name another --output")
    model, origin = read(path, variant, cells)
    origin |= {"task": task or origin["task"], "seed": origin["seed"] if seed is None else seed}
    save_model(model, target, origin)
    print(
        f"{target} written: {model.variant.name}, boards of {model.cells} cells, "
        f"task {origin['task'] or 'unknown'}, seed {origin['seed']}"
    )


@app.command(epilog="Example: air data sudoku")
def data(task: Task) -> None:
    """Make a task's training and test puzzles: data/TASK/."""
    from air.params import load_params
    from air.tasks.datasets import make

    all_params = load_params()
    free(paths.data(task, "train"), paths.data(task, "test"), paths.statistics(task))
    train_set, test_set, statistics = make(all_params.task(task).data, all_params.compute.threads)
    train_set.save(paths.data(task, "train"), "train")
    test_set.save(paths.data(task, "test"), "test")
    write_json(paths.statistics(task), statistics)


@app.command(epilog="Example: air train sudoku Lx_H --seed 0")
def train(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Train one model: results/TASK/VARIANT/seedSEED/model.safetensors and training.csv.

    Stopped by Ctrl-C or SIGTERM, it saves its state; run again, it goes on from there.
    """
    import torch

    from air.checkpoint import save_model
    from air.devices import compiles, prepare
    from air.params import load_params
    from air.training.loop import Diverged, Run, Stopped, format_rows
    from air.training.loop import train as fit
    from air.training.parallel import LOST, PeerLost, Ranks, launch, launched
    from air.training.state import CannotSave, RunState, code_digest, run_key

    all_params = load_params()
    section, compute = all_params.task(task), all_params.compute
    config = section.train
    chosen = _variant(variant)
    label = f"train {task} {variant} seed {seed}"
    path = paths.data(task, "train")
    puzzles = _puzzles(path, task)
    read = _identity(puzzles)
    if config.validation >= len(puzzles):
        raise UserError(
            f"params.yaml: {task}.train.validation: {config.validation} groups held out leave none "
            f"of the {len(puzzles)} to train on"
        )
    out = paths.run(task, variant, seed)
    free(out / "training.csv", out / "model.safetensors")
    if config.processes > 1 and not launched():
        prepare(compute, config.processes)
        status, message = launch(config.processes, sys.argv[1:])
        if message:
            print(f"air: {label}: {message}", file=sys.stderr)
        sys.exit(status)
    device = prepare(compute)
    out.mkdir(parents=True, exist_ok=True)  # fails now if it must, and not after the training
    run = Run(section.model, chosen, config, compute.precision, seed)
    identity = {
        "model": section.model.model_dump(),
        "train": config.model_dump(mode="json"),
        "variant": run.variant.name,
        "seed": seed,
        "compute": compute.model_dump(),
        "device": device.type,
        "code": code_digest(),
        "puzzles": read,
    }
    key = run_key(identity)
    folder = paths.RESUME / f"{task}-{variant}-seed{seed}-{key}"
    steps = config.total_steps(len(puzzles) - config.validation)
    calls = steps * section.model.updates_per_segment * (2 if config.q_continue else 1)  # of f
    ranks = Ranks.join(device)
    try:
        keys = ranks.gather(torch.tensor([int(key[:15], 16)], device=device))
        if keys.unique().numel() > 1:  # one process has read other puzzles than another
            raise _overwritten(path)
        model, rows = fit(
            run,
            puzzles,
            device,
            folder,
            all_params.runtime.save_every_seconds,
            label,
            compiles(compute, calls, device),
            ranks,
        )
    except (Diverged, CannotSave) as error:
        print(f"air: {label}: {error}", file=sys.stderr)
        sys.exit(1)
    except PeerLost:
        os._exit(LOST)  # at once: a process group that has lost a member hangs on its way out
    except Stopped as error:
        if ranks.rank == 0:
            print(f"air: {label}: {error}", file=sys.stderr)
        sys.exit(130)
    if ranks.rank == 0:
        if _identity(puzzles) != read:
            RunState(folder).remove()
            raise _overwritten(path)
        origin = {"task": task, "seed": seed, "train": identity["train"]}
        write_text(out / "training.csv", format_rows(rows))
        save_model(model, out / "model.safetensors", origin)
        RunState(folder).remove()
    ranks.leave()


@app.command(epilog="Example: air evaluate sudoku Lx_H --seed 0")
def evaluate(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Measure a trained model's accuracy: evaluation.json and depth.csv.

    On the test puzzles, and on as many of those that it was trained on, each as it was given.
    """
    from air.devices import compiles
    from air.training.evaluate import evaluate as measure

    def call(model: "AIR", puzzles: "Puzzles", p: "Params", device: "torch.device") -> Any:
        config = p.task(task).evaluation
        chosen = puzzles.first(config.puzzles or len(puzzles))
        train_path = paths.data(task, "train")
        trained_on = _puzzles(train_path, task)
        read = _identity(trained_on)
        held_out = (model.origin.get("train") or {}).get("validation", 0)
        known = trained_on.first(min(len(trained_on) - held_out, len(chosen)))
        label = f"evaluate {task} {variant} seed {seed}"
        batches = sum(-(-len(of) // config.batch_size) for of in (chosen, known))
        segments = config.segments or model.config.max_segments
        calls = batches * segments * model.config.updates_per_segment  # of f
        compiled = compiles(p.compute, calls, device)
        found = measure(model, chosen, config.batch_size, device, label, segments, compiled)
        again = measure(model, known, config.batch_size, device, f"{label}, training puzzles")
        found["train_exact_accuracy"] = again["exact_accuracy"]
        found["train_puzzles"] = again["puzzles"]
        if _identity(trained_on) != read:
            raise _overwritten(train_path)
        solved = enumerate(found["exact_accuracy_by_segment"], start=1)
        rows = ["segment,exact_accuracy", *(f"{segment},{share}" for segment, share in solved)]
        return found, "\n".join(rows) + "\n"

    _measure(task, variant, seed, "evaluation.json", "depth.csv", call)


@app.command(epilog="Example: air rollout sudoku Lx_H --seed 0")
def rollout(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Decode z_L and z_H after every sub-step: rollout.json and rollout.npz."""
    from air.probes.rollouts import rollout as probe

    def call(model: "AIR", puzzles: "Puzzles", p: "Params", device: "torch.device") -> Any:
        config = p.task(task).probes.rollout
        result = probe(
            model,
            puzzles.first(config.puzzles),
            config.memory_gib,
            device,
            config.boards,
            config.depth,
            f"rollout {task} {variant} seed {seed}",
        )
        return result.measures, result.boards

    _measure(task, variant, seed, "rollout.json", "rollout.npz", call)


@app.command(epilog="Example: air freeze maze Lx_H --seed 0")
def freeze(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Compare rollouts with z_H or z_L frozen to the normal one: freeze.json."""
    from air.probes.freezing import freeze as probe

    def call(model: "AIR", puzzles: "Puzzles", p: "Params", device: "torch.device") -> Any:
        config = p.task(task).probes.freeze
        label = f"freeze {task} {variant} seed {seed}"
        chosen = puzzles.first(config.puzzles)
        return probe(model, chosen, config.memory_gib, device, config.later, label), None

    _measure(task, variant, seed, "freeze.json", None, call)


@app.command(epilog="Example: air attention sudoku Lx_H --seed 0")
def attention(task: Task, variant: VariantName, seed: Seed = 0) -> None:
    """Contrast the attention of L- and H-updates: attention.json and attention.npz."""
    from air.model.network import Update
    from air.probes.attention_maps import attention as probe

    def call(model: "AIR", puzzles: "Puzzles", p: "Params", device: "torch.device") -> Any:
        config = p.task(task).probes.attention
        label = f"attention {task} {variant} seed {seed}"
        chosen = puzzles.first(config.puzzles)
        H_cycle, L_cycle = config.L_update
        updates = Update("L", H_cycle, L_cycle), Update("H", config.H_update, 0)
        result = probe(
            model, chosen, config.segments, config.memory_gib, device, updates, config.maps, label
        )
        return result.measures, result.maps

    _measure(task, variant, seed, "attention.json", "attention.npz", call)


@app.command(epilog="Example: air claims")
def claims() -> None:
    """Hold the paper's claims against the results: reports/claims.json."""
    from air.reporting.claims import judge
    from air.reporting.study import Study

    verdicts = judge(Study.load())
    write_json(paths.CLAIMS, verdicts)
    for name, claim in verdicts.items():
        print(f"{name}: {claim['verdict']}")


@app.command(epilog="Example: air report index")
def report(
    notebook: Annotated[str, typer.Argument(help="a notebook in reports/, without .ipynb")],
) -> None:
    """Run a notebook and render it: reports/html/NOTEBOOK.html, and its figures in files/."""
    from air.reporting.pages import render

    notebook = notebook.removesuffix(".ipynb")
    if Path(notebook).name != notebook or notebook.startswith("."):
        raise UserError(f"{notebook!r} is no notebook's name: give it without a folder")
    render(paths.notebook(notebook), paths.page(notebook))
    print(f"{paths.page(notebook)} written")


@app.command(epilog="Example: air verify, or against another commit: air verify --against v0.1.0")
def verify(
    against: Annotated[str, typer.Option(help="a commit, branch or tag")] = "HEAD",
) -> None:
    """Hold what is on disk against what is committed, stage by stage.

    Numbers are the same within 0.001 + 1 % of the committed one. Exit code 1 if any differs by
    more, if something is not there, or if a verdict has changed.
    """
    from air.verification import changed_verdicts, compare

    found = compare(against)
    width = max(map(len, found))
    for name, one in found.items():
        told = f", by at most {one.largest:.3g}" if one.largest else ""
        told += f" ({one.where})" if one.where else ""
        print(f"{name:{width}}  {one.outcome}{told}")
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
    target = paths.PUBLISHED / study.params["preset"]
    copy(study, target)
    print(f"{target} written")


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
    target = output or Path(f"air-{Study.load().params['preset']}.zip")
    count = bundling.write(target)
    print(f"{target} written: {count} files, {target.stat().st_size / 1e6:.1f} MB")


def _variant(name: str) -> Any:
    from air.model.variants import Variant

    try:
        return Variant.parse(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def _puzzles(path: Path, task: str) -> "Puzzles":
    from air.tasks.registry import load_puzzles

    puzzles = load_puzzles(path)
    if puzzles.task.name != task:
        raise UserError(f"{path}: holds puzzles of {puzzles.task.name}; run air data {task}")
    return puzzles


def _identity(puzzles: "Puzzles") -> dict[str, Any]:
    """What tells a data set from any other; its boards are read anew."""
    return {"task": puzzles.task.spec(), "seed": puzzles.seed, "sha256": puzzles.sha256}


def _overwritten(path: Path) -> UserError:
    return UserError(f"{path}: was written over while it was in use; nothing is kept, run again")


def _measure(
    task: str,
    variant: str,
    seed: int,
    output: str,
    beside: str | None,
    call: "Callable[[AIR, Puzzles, Params, torch.device], tuple[Any, Any]]",
) -> None:
    """Load a run's model and its test puzzles, measure, write what comes of it.

    ``call`` gives what goes into ``output`` and into ``beside``, both in the run's folder.
    """
    from air.checkpoint import load_model
    from air.devices import prepare
    from air.params import load_params
    from air.probes import OutOfRange

    _variant(variant)
    all_params = load_params()
    data_path = paths.data(task, "test")
    puzzles = _puzzles(data_path, task)
    read = _identity(puzzles)
    folder = paths.run(task, variant, seed)
    free(*(folder / name for name in (output, beside) if name))
    path = folder / "model.safetensors"
    model = load_model(path)
    is_of = (model.origin.get("task"), model.variant.name, model.origin.get("seed"))
    if is_of != (task, variant, seed):
        raise UserError(
            f"{path}: holds the model of {is_of}, not of {(task, variant, seed)}; "
            "delete it and run again"
        )
    if (model.cells, model.vocabulary) != (puzzles.task.cells, len(puzzles.task.vocabulary)):
        raise UserError(
            f"{path}: trained on boards of {model.cells} cells, but "
            f"{data_path} holds boards of {puzzles.task.cells}; train it again"
        )
    device = prepare(all_params.compute)
    try:
        found, more = call(model, puzzles, all_params, device)
    except OutOfRange as error:  # a model of other sizes than params.yaml's, maybe imported
        raise UserError(f"{path}: {error}; change it in params.yaml") from None
    if _identity(puzzles) != read:
        raise _overwritten(data_path)
    if isinstance(more, str):
        write_text(folder / str(beside), more)
    elif more is not None:
        write_arrays(folder / str(beside), more)
    write_json(folder / output, found)


if __name__ == "__main__":
    main()
