# Input functions and settings that all rules share.

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
from dvc.config import Config
from dvc.exceptions import DvcException
from ruamel.yaml import YAML
from snakemake.utils import min_version

from air.files import UserError
from air.params import load_params
from air.reporting.captions import CAPTIONS
from air.tasks.registry import TASKS

sys.path.insert(0, str(Path(str(workflow.current_basedir)).parent / "scripts"))
import repro

min_version("9.0")

try:
    if config:
        raise UserError("--config: both engines read params.yaml; change it there instead")
    if "{" in workflow.basedir or "}" in workflow.basedir:
        raise UserError(
            f"{workflow.basedir}: Snakemake takes braces in a path for wildcards; rename the folder"
        )
    PARAMS = load_params()
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)

# Strict mode (which a prefix of one's own replaces), and the tools of the environment that runs
# Snakemake, active or not. The mark lets a later call recognise jobs that outlived theirs.
shell.prefix(
    "set -euo pipefail; "
    f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; '
    f"export AIR_SNAKEMAKE={os.getpid()}; "
)

STAGES = YAML(typ="safe").load(Path("dvc.yaml"))["stages"]
THREADS = PARAMS.compute.threads
NOTEBOOKS = sorted(path.stem for path in Path("reports").glob("*.ipynb") if path.stem != "cost")
PAGES = expand("reports/html/{notebook}.html", notebook=NOTEBOOKS)
EXPLORER = "reports/html/explore.html"
DATA = expand(
    "data/{task}/{file}",
    task=TASKS,
    file=["train.safetensors", "test.safetensors", "statistics.json"],
)
RUN = "results/{task}/{variant}/seed{seed}"
IMPORTED = sorted({name for task in TASKS for name in PARAMS.task(task).imported})


wildcard_constraints:
    task="|".join(TASKS),
    variant="[^/]+",
    seed="[0-9]+",
    notebook="[^/]+",


SECONDS_TO_END = 60  # for a job of an earlier call that is asked to
GPU = 0 if PARAMS.compute.device == "cpu" else 1  # what a process takes for itself


def processes(wildcards):
    """Processes that share a training, each with threads and a device of its own."""
    return PARAMS.task(wildcards.task).train.processes


# The one command of every job.
REPRO = "python workflow/scripts/repro.py {params.stage:q} {log:q}"

# A job on a cluster reads the workflow again, and keeps to what the call that submitted it decided.
try:
    repro.settle()
except DvcException as error:
    print(f"DVC's configuration (.dvc/config, .dvc/config.local): {error}", file=sys.stderr)
    sys.exit(2)


def do_without():
    """Go on without a remote that cannot be reached, and without git where there is none."""
    here = Path.cwd()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        with Config(dvc_dir=".dvc").edit("local") as config:  # a ZIP file, a container
            config["core"]["no_scm"] = True
    repro.do_without_remote()


def slurm_jobs():
    """Jobs that Snakemake has put into Slurm's queue from this folder, if there is a Slurm."""
    if not shutil.which("squeue"):
        return []
    command = ["squeue", "--me", "--noheader", "--format=%i|%k|%Z"]  # number, comment, folder
    used = Path(".snakemake/slurm_logs").exists()  # else a Slurm without a controller is no matter
    for again in range(3 if used else 1):
        time.sleep(5 * again)
        asked = subprocess.run(command, capture_output=True, text=True)
        if asked.returncode == 0:
            return [
                line.split("|")[0]
                for line in asked.stdout.splitlines()
                if "|rule_" in line and line.endswith(f"|{os.getcwd()}")
            ]
    if used:
        sys.exit(
            "Slurm does not say whether it still has jobs of this folder "
            f"({asked.stderr.strip() or 'squeue fails'}); try again when squeue answers."
        )
    return []


def take_over():
    """Make this call the only one at work in this folder, whatever became of the one before.

    Snakemake's own lock outlives a killed call and then has to be removed by hand (it is off in the
    default profile); this one is released with the process. Jobs that a killed call left behind are
    asked to stop, and training saves its state. (Jobs on a cluster read the workflow too, but run
    no `onstart`.)
    """
    global study_lock
    study_lock = open(".snakemake/study.lock", "w")
    try:
        fcntl.flock(study_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("Another snakemake call is at work in this folder: wait for it, or stop it.")
    if jobs := slurm_jobs():
        print(f"Cancelling what an earlier call left in Slurm: {' '.join(jobs)}.", file=sys.stderr)
        subprocess.run(["scancel", *jobs])
    until = time.monotonic() + SECONDS_TO_END
    while jobs := slurm_jobs():
        if time.monotonic() > until:
            sys.exit(
                f"Slurm has cancelled {' '.join(jobs)}, and still lists them; see `squeue --me`."
            )
        time.sleep(1)
    left_behind = []
    for process in psutil.process_iter():
        try:
            marked = process.cwd() == os.getcwd() and "AIR_SNAKEMAKE" in process.environ()
            if marked:
                process.terminate()  # repro.py ends after what it runs, with its last words
                left_behind.append(process)
        except psutil.Error:
            continue  # not ours to look at, or just ended
    if left_behind:
        print("Stopping the jobs that a killed snakemake call left behind.", file=sys.stderr)
        _, alive = psutil.wait_procs(left_behind, timeout=SECONDS_TO_END)
        for process in alive:  # no longer able to save anything
            process.kill()
        psutil.wait_procs(alive, timeout=SECONDS_TO_END)
    # DVC notes who reads and writes what: nobody now, and half a note would stop every job
    Path(".dvc/tmp/rwlock").unlink(missing_ok=True)


def code(stage):
    """The files of our code that a stage of dvc.yaml depends on, also on that of its task alone."""
    listed = [entry for entry in STAGES[stage]["deps"] if entry.startswith("src/")]
    paths = [Path(entry) for entry in listed if "$" not in entry]
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    found = [str(file) for file in files if file.is_file() and file.parent.name != "__pycache__"]
    return sorted(found) + [entry.replace("$", "") for entry in listed if "$" in entry]


def of_model(stage):
    """The name of a stage in dvc.yaml that reads a model, trained here or by others."""

    def name(wildcards):
        kind = "imported_" if wildcards.variant in IMPORTED else ""
        return f"{stage}_{kind}{wildcards.task}@{wildcards.variant}-{wildcards.seed}"

    return name


def probes_of(wildcards):
    """What params.yaml says of an imported model: which probes look at it."""
    entry = PARAMS.task(wildcards.task).checkpoints.get(wildcards.variant)
    return entry and entry.model_dump(mode="json")


def setting(*keys):
    """A params function: the part of params.yaml at ``keys``, ``{task}`` standing for the job's."""

    def look_up(wildcards):
        section = PARAMS.model_dump(mode="json")
        for key in keys:
            section = section[key.format(**wildcards)]
        return section

    return look_up


def outputs_of_runs(wildcards):
    """Everything in results/: what every configured training run and probe leaves."""
    files = []
    for task in TASKS:
        section = PARAMS.task(task)
        probes = section.probes
        trained = ("model.safetensors", "snapshots.safetensors", "training.csv")
        for names, chosen in (
            ((*trained, "evaluation.json", "depth.csv"), section),
            (("rollout.json", "rollout.npz"), probes.rollout),
            (("freeze.json",), probes.freeze),
            (("attention.json", "attention.npz"), probes.attention),
            (("emergence.json", "emergence.npz"), probes.emergence),
        ):
            files += expand(
                f"{RUN}/{{name}}",
                task=task,
                variant=chosen.variants,
                seed=chosen.seeds,
                name=names,
            )
        files += expand(
            "results/{task}/{name}/seed0/{file}",
            task=task,
            name=section.imported,
            file=[
                *("model.safetensors", "snapshots.safetensors", "import.json"),
                *("evaluation.json", "depth.csv", "freeze.json"),
                *("rollout.json", "rollout.npz", "attention.json", "attention.npz"),
                *("emergence.json", "emergence.npz"),
            ],
        )
    return files
