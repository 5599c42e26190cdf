"""The stage `data`: a task's training and test puzzles, and what is said of them."""

from air import paths
from air.params import load_params
from air.sources.datasets import make
from air.writing import free, write_json


def data(task: str) -> None:
    """Make data/TASK/: train.safetensors, test.safetensors, statistics.json."""
    params = load_params()
    free(paths.data(task, "train"), paths.data(task, "test"), paths.statistics(task))
    train_set, test_set, statistics = make(params.task(task).data, params.compute.threads)
    train_set.save(paths.data(task, "train"), "train")
    test_set.save(paths.data(task, "test"), "test")
    write_json(paths.statistics(task), statistics)
