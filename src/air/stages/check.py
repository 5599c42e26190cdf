"""The stage `check`: params.yaml, checked and complete, as results/params.json."""

from dataclasses import asdict

from air import paths
from air.model.variants import Variant
from air.params import load_params
from air.tasks.registry import TASKS
from air.writing import write_json


def check() -> str:
    """Write the parameters out in full; the preset's name."""
    checked = load_params()
    names = dict.fromkeys(name for task in TASKS for name in checked.task(task).variants)
    specs = {name: asdict(Variant.parse(name)) for name in names}
    titles = {name: task.title for name, task in TASKS.items()}
    content = {"tasks": titles, "params": checked.model_dump(mode="json"), "variants": specs}
    write_json(paths.PARAMS_CHECKED, content)
    return checked.preset
