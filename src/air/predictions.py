"""A trained model's answers to the test puzzles, one by one: ``air evaluate --predictions``."""

import json
from pathlib import Path

import numpy as np

from air.devices import compiles
from air.evaluation.config import EvaluationConfig
from air.evaluation.predictions import predict
from air.files import UserError, ours_to_make
from air.stages.inputs import subject
from air.writing import replacing


def predictions(task: str, variant: str, seed: int, path: Path) -> tuple[int, int]:
    """Write what a model answers to each test puzzle, a line of JSON each; evaluation.json stays.

    Returns:
        how many puzzles there are, and how many are right.

    Raises:
        UserError: ``path`` cannot be written, or as :func:`air.stages.inputs.subject`.
    """
    ours_to_make(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a regular file; choose another for the predictions")
    if not path.parent.is_dir():
        raise UserError(
            f"{path}: there is no folder {path.parent}; make it, or choose another file"
        )
    number = solved = 0
    with replacing(path) as temporary, subject(task, variant, seed) as of:
        config: EvaluationConfig = of.section.evaluation
        test = of.puzzles.first(config.puzzles or len(of.puzzles))
        symbols = [
            symbol or of.puzzles.task.vocabulary[0] for symbol in of.puzzles.task.csv_symbols
        ]
        segments = of.model.config.max_segments
        calls = -(-len(test) // config.batch_size) * segments * of.model.config.updates_per_segment
        label = f"predictions {task} {variant} seed {seed}"
        with temporary.open("w", encoding="utf-8") as file:
            for batch in predict(
                of.model,
                test,
                config.batch_size,
                of.device,
                label,
                compiles(of.compute, calls, of.device),
            ):
                for row, board in enumerate(batch.board):
                    found = {
                        "puzzle": number,
                        "question": "".join(symbols[token] for token in test.inputs[number]),
                        "board": "".join(symbols[token] for token in board),
                        "right": bool(batch.right[row]),
                        "segments": int(batch.segments[row]),
                        "q_halt": _logits(batch.q_halt[row]),
                    }
                    if batch.q_continue is not None:
                        found["q_continue"] = _logits(batch.q_continue[row])
                    file.write(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
                    number += 1
                solved += int(batch.right.sum())
    return number, solved


def _logits(values: np.ndarray) -> list[float | None]:
    """Six significant digits; null where a number is not finite."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]
