"""Sheets of rollouts: every board of a puzzle on one page, a file each beside the report."""

from pathlib import Path

from air import paths
from air.files import UserError, ours_to_make, read_json
from air.progress import Progress
from air.reporting.boards import Pen, ends, sheet
from air.reporting.sections import wording
from air.reporting.study import read_boards, read_look
from air.results.rollout import RolloutMeasures
from air.tasks.registry import TASKS
from air.writing import free, write_bytes


def write_sheets(task: str, variant: str, seed: int, folder: Path) -> list[Path]:
    """Draw the boards that a run's rollout.npz has kept: a PDF in ``folder`` for each puzzle.

    Returns:
        the files, ``TASK-VARIANT-seedSEED-puzzleN.pdf``, puzzles counted from 0.

    Raises:
        UserError: there is no rollout, a file is damaged, or ``folder`` cannot be one.
    """
    ours_to_make(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; choose one for the sheets")
    run = paths.run(task, variant, seed)
    measures = read_json(run / "rollout.json", RolloutMeasures)
    look = read_look(paths.data(task, "test"))
    boards = read_boards(run / "rollout.npz", measures, look)
    pen, title = Pen(look, wording(task).filled), TASKS[task].title
    count = len(boards.inputs)
    stem = f"{task}-{variant}-seed{seed}-puzzle"
    files = [folder / f"{stem}{puzzle:0{len(str(count - 1))}d}.pdf" for puzzle in range(count)]
    free(*files)
    with Progress(f"sheets {task} {variant} seed {seed}", count, "puzzles") as progress:
        for puzzle, path in enumerate(files):
            page = sheet(
                pen,
                boards,
                puzzle,
                measures.updates_per_segment,
                f"{title}, {variant}, seed {seed}, puzzle {puzzle}: {ends(boards, puzzle)}",
            )
            write_bytes(path, page)
            progress.advance()
    return files
