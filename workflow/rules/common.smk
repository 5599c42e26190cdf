# Input functions and settings that all rules share.

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

from air.files import UserError
from air.params import TASKS, load_params

min_version("9.0")

if config:
    sys.exit("Both engines read params.yaml: change it there, not by --config or --configfile.")

try:
    PARAMS = load_params()
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)

# The tools of the environment that runs Snakemake, active or not.
shell.prefix(f"export PATH='{Path(sys.executable).parent}':\"$PATH\"; ")

THREADS = PARAMS.compute.threads
NOTEBOOKS = sorted(path.stem for path in Path("reports").glob("*.ipynb"))
PAGES = expand("reports/html/{notebook}.html", notebook=NOTEBOOKS)
RUN = "results/{task}/{variant}/seed{seed}"


wildcard_constraints:
    task="|".join(TASKS),
    variant="[^/]+",
    seed="[0-9]+",
    notebook="[^/]+",


def has_remote():
    """Whether a DVC remote is configured, from which finished stages can be restored."""
    from dvc.config import Config

    return bool(Config(dvc_dir=".dvc").get("core", {}).get("remote"))


# The one command of every job. DVC knows by hash whether there is anything to do, and restores what
# it has made before. Its output is shown and kept; tee outlives Ctrl-C so that the last words are too.
REPRO = (
    f"dvc --wait-for-lock repro --quiet --single-item {'--pull ' if has_remote() else ''}"
    "'{params.stage}' 2>&1 | tee -i '{log}'"
)


def code(*folders):
    """The files of the package's folders: what a stage's results depend on besides its data."""
    return sorted(
        str(path)
        for folder in folders
        for path in Path("src/air", folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    )


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
        for names, chosen in (
            (("model.safetensors", "training.csv", "evaluation.json"), section),
            (("rollout.json", "rollout.npz"), probes.rollout),
            (("freeze.json",), probes.freeze),
            (("attention.json",), probes.attention),
        ):
            files += expand(
                f"{RUN}/{{name}}",
                task=task,
                variant=chosen.variants,
                seed=chosen.seeds,
                name=names,
            )
    return files
