"""Where the study's files lie, from the project's root: the paths of dvc.yaml and the rules."""

from pathlib import Path

PARAMS_CHECKED = Path("results/params.json")
PAPER = Path("reports/paper.yaml")
CLAIMS = Path("reports/claims.json")
PUBLISHED = Path("reports/published")
MODELS = Path("models")  # trained models that come with the project
RESUME = Path(".resume")
BENCHMARKS = Path("logs/benchmark")  # what every job took, as Snakemake measured it


def data(task: str, split: str) -> Path:
    """Puzzles of a task: ``split`` is train or test."""
    return Path("data", task, f"{split}.safetensors")


def statistics(task: str) -> Path:
    """The statistics of a task's puzzles."""
    return Path("data", task, "statistics.json")


def revision(task: str) -> Path:
    """The commit at which a branch or tag of the hub was read for a task's puzzles.

    Beside the unfinished trainings, because both engines delete the outputs of a stage before it
    runs, and with them the one in statistics.json.
    """
    return RESUME / f"revision-{task}.json"


def revision_of_model(task: str, name: str) -> Path:
    """The same for a model that others trained."""
    return RESUME / f"revision-{task}-{name}.json"


def run(task: str, variant: str, seed: int) -> Path:
    """The folder of one training run and everything measured on it."""
    return Path("results", task, variant, f"seed{seed}")


def shipped(preset: str, task: str, variant: str) -> Path:
    """A trained model that comes with the project: that of the preset's first seed."""
    return MODELS / preset / task / f"{variant}.safetensors"


def notebook(name: str) -> Path:
    """A part of the report, as prose and calls."""
    return Path("reports", f"{name}.ipynb")


def page(name: str) -> Path:
    """A notebook, run and rendered."""
    return Path("reports", "html", f"{name}.html")
