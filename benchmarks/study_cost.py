"""What the jobs of a study take on a GPU: FLOP, time and memory, by what one H100 did.

    python benchmarks/study_cost.py presets/paper.yaml
    python benchmarks/study_cost.py presets/paper.yaml --processes maze=8
    python benchmarks/study_cost.py presets/paper.yaml --rate 900 --shares training=0.45

Time is the FLOP of all calls of f, divided by a share of the matrix rate: the share that this kind
of job reached on Sudokus of the paper's size, or one that is stated. (Small models reach less.)
What was measured on the H100 stands as it is; `about` is before what is estimated, in time by such
a share, in memory by counting (benchmarks/memory.py). What a job takes to start is left out.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memory import COMPILED, inference_memory, meta_model, step_memory
from sizes import RECIPE, SIZES, flops_of_f

from air.devices import CALLS_TO_COMPILE
from air.model.config import ModelConfig
from air.model.network import AIR
from air.params import Params, TaskParams, load_params
from air.stages.explore import runs_shown
from air.tasks.registry import TASKS
from air.training.config import TrainConfig

# One NVIDIA H100 (80 GB), docs/training.md, Speed.
RATE = 773.0  # TFLOP/s of a matrix product in bfloat16
STEPS = {("sudoku", 768): (0.0927, 10.7), ("maze", 96): (0.1577, 14.6)}  # slots: seconds, GiB
PER_PUZZLE = {  # of Sudoku: seconds, and GiB where they were measured
    "evaluation": (17.8 / 10_000, None),
    "rollout": (2.2 / 1000, 2.0),
    "freeze": (3.8 / 1000, 1.7),
    "attention": (2.4 / 1000, 2.2),
}
PUBLIC = {"sapientinc/sudoku-extreme": 422_786, "sapientinc/maze-30x30-hard-1k": 1000}


@dataclass(frozen=True)
class Job:
    """A kind of job: how many, on how many GPUs each, and what each takes."""

    name: str
    jobs: int
    gpus: int
    pflop: float
    seconds: float
    measured: bool  #: the time: of the same steps or puzzles, on one H100
    memory: str  #: of each GPU

    @property
    def gpu_hours(self) -> float:
        return self.jobs * self.gpus * self.seconds / 3600

    def cells(self, rate: float) -> list[str]:
        """A row of the table; ``rate`` is the matrix rate in TFLOP/s."""
        share = 1000 * self.pflop / self.gpus / self.seconds / rate
        about = "" if self.measured else "about "
        hours = f"{about}{self.gpu_hours:,.1f}" if self.gpu_hours > 0.05 else "under 0.1"
        return [
            self.name,
            str(self.jobs),
            str(self.gpus),
            f"{self.pflop:,.0f}" if self.pflop > 10 else f"{self.pflop:.2g}",
            f"{100 * share:.0f} %",
            f"{about}{duration(self.seconds)}" if self.seconds > 1 else "under 1 s",
            hours,
            self.memory,
        ]


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 10_000 else f"{seconds / 3600:.1f} h"


def calls_of_a_step(model: ModelConfig, train: TrainConfig) -> int:
    """Calls of f, in which a backward pass counts as two."""
    updates = model.updates_per_segment
    with_gradient = {"one_step": 2, "last_cycle": model.L_cycles + 1, "full": updates}
    return updates * (2 if train.q_continue else 1) + 2 * with_gradient[train.gradient]


def calls_of(job: str, section: TaskParams) -> int:
    """Calls of f for a puzzle that is evaluated or probed."""
    segments, probes = section.model.max_segments, section.probes
    if job == "freeze":  # each state alone runs a part of the updates, both together all
        segments = 2 * segments + sum(segments + k for k in probes.freeze.later)
    elif job == "attention":
        segments = max(probes.attention.segments) + 1
    elif job == "rollout":
        segments = max(segments, probes.rollout.depth or 0)
    else:
        segments = max(segments, section.evaluation.segments or 0)
    return segments * section.model.updates_per_segment


def model_of(section: TaskParams) -> AIR:
    """The largest model that a task trains, without its numbers."""
    task = section.data.task()
    return max(
        (
            meta_model(section.model, variant, len(task.vocabulary), task.cells)
            for variant in section.variants
        ),
        key=lambda model: model.parameter_count,
    )


def reached() -> dict[str, float]:
    """The share of the matrix rate that each kind of job reached on Sudokus."""
    config, vocabulary, cells, _ = SIZES["paper"]
    f = flops_of_f(meta_model(config, "Lx_H", vocabulary, cells), 1)
    rollout = config.max_segments * config.updates_per_segment
    rates = {"training": 768 * calls_of_a_step(config, RECIPE) * f / STEPS["sudoku", 768][0]}
    for job, (seconds, _) in PER_PUZZLE.items():
        rates[job] = (2 if job == "freeze" else 1) * rollout * f / seconds
    return {job: rate / (RATE * 1e12) for job, rate in rates.items()}


def test_puzzles(section: TaskParams) -> int:
    repo = getattr(section.data, "repo", "")
    number = section.evaluation.puzzles or section.data.test or PUBLIC.get(repo)
    if number is None:
        raise SystemExit("data.test: how many test puzzles there are is not known; name a number")
    return number


def jobs(
    params: Params, processes: dict[str, int], rate: float, shares: dict[str, float]
) -> Iterator[Job]:
    """The jobs that take a GPU, task by task.

    Args:
        processes: by task, of a training, in place of ``train.processes``.
        rate: TFLOP/s of a matrix product.
        shares: of that rate, by kind of job; the others are those of the H100.
    """
    as_measured = rate == RATE and not shares and params.compute.precision == "bfloat16"
    shares = reached() | shares
    for task in TASKS:
        section = params.task(task)
        if section.variants:
            paper = as_measured and section.model == ModelConfig()
            model, gpus = model_of(section), processes.get(task, section.train.processes)
            yield training(task, section, model, gpus, paper, rate * shares["training"])
            yield from others(task, section, model, paper and task == "sudoku", rate, shares)


def training(
    task: str, section: TaskParams, model: AIR, gpus: int, paper: bool, rate: float
) -> Job:
    """All trainings of a task; ``paper``: like those that were measured, except for the slots.

    ``rate`` is the TFLOP/s that a training reaches.
    """
    train, config = section.train, section.model
    if train.batch_size % gpus:
        raise SystemExit(f"{task}: {gpus} processes cannot share {train.batch_size} slots evenly")
    steps, slots = train.total_steps(groups(section)), train.batch_size // gpus
    calls = calls_of_a_step(config, train)
    step = None
    if paper and calls == calls_of_a_step(config, RECIPE):
        step = STEPS.get((task, slots))
    flop = slots * calls * flops_of_f(model, 1)
    each = step[0] if step else flop / (rate * 1e12)
    if step:
        memory = f"{step[1]:.1f} GiB"
    else:
        memory = f"about {COMPILED * step_memory(model, slots, train).peak / 2**30:.0f} GiB"
    return Job(
        f"{TASKS[task].title}: training, {steps:,} steps of {slots} slots a GPU",
        len(section.variants) * len(section.seeds),
        gpus,
        steps * gpus * flop / 1e15,
        steps * each,
        step is not None and gpus == 1,  # several also sum their gradients
        memory,
    )


def others(
    task: str, section: TaskParams, model: AIR, paper: bool, rate: float, shares: dict[str, float]
) -> Iterator[Job]:
    """Evaluation, probes and the explorer; ``paper``: the probes are those that were measured."""
    title, test = TASKS[task].title, test_puzzles(section)
    known = min(groups(section), test)  # training puzzles, of which as many are evaluated

    def job(kind: str, number: int, puzzles: int, measured: bool, memory: str, of: str) -> Job:
        flop = puzzles * calls_of(kind, section) * flops_of_f(model, 1)
        seconds = flop / (shares[kind] * rate * 1e12)
        return Job(f"{title}: {of}", number, 1, flop / 1e15, seconds, measured, memory)

    batch = min(section.evaluation.batch_size, test)
    # from so many calls on f is compiled, in which evaluation was not measured
    eager = -(-test // batch) * calls_of("evaluation", section) < CALLS_TO_COMPILE
    runs = len(section.variants) * len(section.seeds)
    of = f"evaluation, {test + known:,} puzzles"
    yield job("evaluation", runs, test + known, paper and eager, evaluating(model, batch), of)
    for kind in ("rollout", "freeze", "attention"):
        probe = getattr(section.probes, kind)
        if number := len(probe.variants) * len(probe.seeds):
            puzzles = min(probe.puzzles or test, test)
            memory = (
                f"{PER_PUZZLE[kind][1]:.1f} GiB" if paper else f"at most {probe.memory_gib:g} GiB"
            )
            yield job(kind, number, puzzles, paper, memory, f"{kind}, {puzzles:,} puzzles")
    if models := len(runs_shown(section.explore, section)):
        puzzles = section.explore.puzzles
        memory, of = evaluating(model, puzzles), f"in the explorer, {puzzles} puzzles a model"
        yield job("rollout", 1, models * puzzles, False, memory, of)


def groups(section: TaskParams) -> int:
    """Puzzles to train on."""
    return section.data.train - section.train.validation


def evaluating(model: AIR, puzzles: int) -> str:
    """The memory of so many puzzles at once."""
    return f"about {inference_memory(model, puzzles) / 2**30:.1f} GiB"


def table(found: list[Job], rate: float = RATE) -> str:
    """The jobs in Markdown, with the sum of their GPU-hours."""
    heads = (
        "job", "how many", "GPUs", "PFLOP each", "share of the matrix rate", "time each",
        "GPU-hours", "memory of a GPU",
    )  # fmt: skip
    total = ["together", "", "", "", "", "", f"{sum(job.gpu_hours for job in found):,.0f}", ""]
    rows = [f"| {' | '.join(row)} |" for row in (heads, *(job.cells(rate) for job in found), total)]
    return "\n".join([rows[0], "|---" * len(heads) + "|", *rows[1:]])


def pairs(given: list[str], known: list[str]) -> dict[str, float]:
    """``name=number`` from the command line."""
    found = {}
    for entry in given:
        name, _, number = entry.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0
        if name not in known or found[name] <= 0:
            raise SystemExit(f"{entry}: must be NAME=NUMBER with a name of {', '.join(known)}")
    return found


def main() -> None:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        description=lines[0],
        epilog="\n".join(lines[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("preset", type=Path)
    parser.add_argument("--rate", type=float, default=RATE, help=f"TFLOP/s [default: {RATE:.0f}]")
    parser.add_argument("--shares", nargs="+", default=[], metavar="JOB=SHARE")
    parser.add_argument("--processes", nargs="+", default=[], metavar="TASK=GPUS")
    given = parser.parse_args()
    processes = pairs(given.processes, list(TASKS))
    shares = pairs(given.shares, ["training", *PER_PUZZLE])
    found = jobs(
        load_params(given.preset),
        {task: int(number) for task, number in processes.items()},
        given.rate,
        shares,
    )
    print(table(list(found), given.rate))
    print("\nNot counted: emergence, and models that others trained.")


if __name__ == "__main__":
    main()
