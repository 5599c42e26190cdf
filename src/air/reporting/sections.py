"""Sections for each task, in its own words: they do not ask which task it is."""

from collections.abc import Callable, Sequence

from air import paths
from air.files import UserError
from air.reporting.display import Display, markup, missing, show
from air.reporting.study import Study
from air.tasks.registry import TASKS
from air.tasks.words import WORDS, Measure, Wording

# the two contrasts that every task has
OTHERS = {
    "d_ent": Measure("entropy (H - L)", "of log(cells)"),
    "d_viol": Measure("on violations"),
}


def wording(task: str) -> Wording:
    """What a task's things are called.

    Raises:
        UserError: the study is about a task that this version does not have.
    """
    if task not in TASKS:
        raise UserError(
            f"{paths.PARAMS_CHECKED}: tasks: {task} is none of {', '.join(TASKS)}; run air check"
        )
    return WORDS[task]


def measure(task: str, contrast: str) -> Measure:
    """What a contrast of attention (``d_...``) is called."""
    return OTHERS.get(contrast) or wording(task).neighbourhood(contrast.removeprefix("d_"))


def each_task(study: Study, parts: Callable[[str], Sequence[Display | list[Display]]]) -> None:
    """Show a section for each of the study's tasks: its title, and the ``parts`` of it.

    Of a task that the study leaves out, the section says so and shows no parts.
    """
    for task, title in study.tasks.items():
        left_out = [] if study.chosen(task) else [missing(f"This study leaves out {title}.")]
        show(Display(markup("<h2>{{ title }}</h2>", title=title)), *(left_out or parts(task)))


def attended(
    study: Study, task: str, parts: Callable[[], Sequence[Display | list[Display]]]
) -> list[Display]:
    """The ``parts`` about attention; only why there is none, if no model of the task has any."""
    without = skipped(study, task, "attention")
    if without and not study.attentions(task):
        return without
    found = [part if isinstance(part, list) else [part] for part in parts()]
    return [*without, *(shown for part in found for shown in part)]


def skipped(study: Study, task: str, probe: str) -> list[Display]:
    """A line for each reason why a probe has measured nothing in some models."""
    runs: dict[str, list[str]] = {}
    for run, reason in study.skipped(task, probe).items():
        runs.setdefault(reason, []).append(study.title(task, run).partition(", ")[2])
    return [text(f"Not measured: {'; '.join(of)} ({reason}).") for reason, of in runs.items()]


def heading(title: str) -> Display:
    """The title of a part of a section."""
    return Display(markup("<h3>{{ title }}</h3>", title=title))


def text(sentences: str) -> Display:
    """A paragraph."""
    return Display(markup("<p>{{ sentences }}</p>", sentences=sentences))


def rules(task: str) -> Display:
    """What the puzzles of a task ask for."""
    return text(wording(task).rules)


def undecided(study: Study, task: str) -> Display:
    """What an undecided cell shows, and how many sub-steps the runs of the task have."""
    sizes: dict[tuple[int, int], list[str]] = {}
    for run in study.rollouts(task) or study.chosen(task):
        model = study.sizes(task, run)
        name = run[0] if run in study.imported(task) else "ours"
        sizes.setdefault((model.updates_per_segment, model.max_segments), []).append(name)
    said = "; ".join(
        f"a segment has {updates} sub-steps, a rollout {segments} segments"
        + (f" ({', '.join(sorted(set(names)))})" if len(sizes) > 1 else "")
        for (updates, segments), names in sizes.items()
    )
    what = f"A cell is undecided while it shows {wording(task).undecided}."
    return text(f"{what} {said[:1].upper()}{said[1:]}." if said else what)


def mask(task: str) -> Display:
    """What is in the mask."""
    return text(f"A cell is in the mask while it is {wording(task).mask}.")


def query(task: str) -> Display:
    """Which cells are query cells, and what is a violation."""
    words = wording(task)
    return text(f"Query cells: {words.query}. A cell breaks a rule if it {words.violation}.")
