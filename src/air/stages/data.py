"""The stage `data`: a task's training and test puzzles, and their statistics."""

from pydantic import BaseModel, Field

from air import paths
from air.files import read_json, there
from air.params import load_params
from air.sources.config import Data, HuggingFace
from air.sources.datasets import make
from air.writing import free, write_json


def data(task: str) -> None:
    """Make data/TASK/: train.safetensors, test.safetensors, statistics.json."""
    params = load_params()
    config = params.task(task).data
    free(paths.data(task, "train"), paths.data(task, "test"), paths.statistics(task))
    train_set, test_set, statistics = make(_as_before(task, config), params.compute.threads)
    train_set.save(paths.data(task, "train"), "train")
    test_set.save(paths.data(task, "test"), "test")
    write_json(paths.statistics(task), statistics.content())
    if isinstance(config, HuggingFace) and not config.pinned:
        asked = {"repo": config.repo, "revision": config.revision}
        write_json(paths.revision(task), asked | {"commit": statistics.revision})


class _Before(BaseModel):
    """What paths.revision holds."""

    repo: str
    revision: str
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")


def _as_before(task: str, config: Data) -> Data:
    """The source at the commit that its branch or tag stood for when it was read first.

    Run again, for whatever reason, the stage reads the same files, also if the branch has moved.
    """
    path = paths.revision(task)
    if not isinstance(config, HuggingFace) or config.pinned or not there(path):
        return config
    before = read_json(path, _Before)
    if (before.repo, before.revision) != (config.repo, config.revision):
        return config
    return config.model_copy(update={"revision": before.commit})
