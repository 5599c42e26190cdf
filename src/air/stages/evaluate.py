"""The stage `evaluate`: how many puzzles a trained model solves."""

from air.devices import compiles
from air.evaluation.accuracy import evaluate as measure
from air.evaluation.config import EvaluationConfig
from air.stages.inputs import puzzles_of, subject
from air.writing import write_json, write_text


def evaluate(task: str, variant: str, seed: int) -> None:
    """Write evaluation.json and depth.csv.

    Measured on the test puzzles, and on as many of those that the model was trained on (not those
    held out for validation), each as it was given. Of a model that others trained, the puzzles that
    it was trained on are not known.
    """
    label = f"evaluate {task} {variant} seed {seed}"
    with (
        subject(task, variant, seed, "evaluation.json", "depth.csv") as of,
        puzzles_of(task, "train") as all_training,
    ):
        config: EvaluationConfig = of.section.evaluation
        test = of.puzzles.first(config.puzzles or len(of.puzzles))
        held_out = (of.model.origin.get("train") or {}).get("validation", 0)
        by_others = "imported" in of.model.origin
        seen = 0 if by_others else min(len(all_training) - held_out, len(test))
        training = all_training.first(seen)
        segments = config.segments or of.model.config.max_segments
        batches = sum(-(-len(puzzles) // config.batch_size) for puzzles in (test, training))
        calls = batches * segments * of.model.config.updates_per_segment  # of f
        compiled = compiles(of.compute, calls, of.device)
        found = measure(of.model, test, config.batch_size, of.device, label, segments, compiled)
        if seen:
            label += ", training puzzles"
            known = measure(of.model, training, config.batch_size, of.device, label)
            of_training = {"train_exact_accuracy": known.exact_accuracy, "train_puzzles": seen}
            found = found.model_copy(update=of_training)
    solved = enumerate(found.exact_accuracy_by_segment, start=1)
    rows = ["segment,exact_accuracy", *(f"{segment},{share}" for segment, share in solved)]
    write_text(of.folder / "depth.csv", "\n".join(rows) + "\n")
    write_json(of.folder / "evaluation.json", found.content())
