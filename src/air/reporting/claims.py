"""The paper's claims held against the results.

A verdict is ``holds``, ``fails``, ``inconclusive`` or ``not run``. The rules:

- A claim about accuracies (C1, C4, C6) compares groups of training runs. It is decided by the 95 %
  interval of a difference of group means, by Student's t with Welch's degrees of freedom, and only
  if every group has at least ``LEAST_RUNS`` runs.
- These claims are about models that have finished learning, so a comparison can only be decided if
  every group has converged. A group has converged if its runs, on average, solve at least the share
  ``SATURATED`` of their training puzzles in the last fifth of training, or if that share is at most
  ``RISE`` above that of the fifth before. The second does not count where the learning rate was
  annealed to less than half of its peak, which stops any rise.
- A claim about what one run does inside (C2, C3, C5) is decided in each probed run of Lx_H by
  bootstrap intervals over puzzles. It holds if it holds in every run, fails if it fails in more
  than half, and is inconclusive otherwise. A run that solves at most the share ``LEARNED`` of the
  test puzzles decides nothing: the claim is about models that have learned their task.
- A claim about several tasks holds if it holds in all of them, and fails if it fails in any.
- X1 and X2 are claims of this project. They compare variants that only add the input: where it
  enters asymmetrically the effect should lie beyond the threshold ``none``, elsewhere within it.
  They need a learned run of both kinds (for X1, L-sided and H-sided variants count as two kinds).

Where C1 is not decided, ``runs_to_decide`` is the number of runs per group at which an effect and a
spread like those observed would exclude zero.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import numpy as np

from air.reporting.comparisons import LEAST_RUNS, RISE, SATURATED, contrast, regime, runs_to_decide
from air.reporting.study import Run, Study
from air.results.attention import AttentionMeasures, Overall
from air.results.rollout import RolloutMeasures

__all__ = ["LEARNED", "LEAST_RUNS", "RISE", "SATURATED", "judge"]

Verdict = Literal["holds", "fails", "inconclusive", "not run"]
LEARNED = 0.1
PROBED = "Lx_H"  # the paper's default, whose inside it looks at
NONE = np.empty(0)
M = TypeVar("M")


def judge(study: Study) -> dict[str, Any]:
    """The contents of claims.json: per claim its verdict, and per task the figures behind it."""
    judges: dict[str, Callable[[Study, str], dict[str, Any]]] = {
        "C1": injection,
        "C2": commitment,
        "C3": freezing,
        "C4": level_tokens,
        "C5": locality,
        "C6": operators,
        "X1": input_sided,
        "X2": surer,
    }
    result: dict[str, Any] = {}
    for name, decide in judges.items():
        text = study.claims[name]
        found = {task: decide(study, task) for task in text["tasks"]}
        result[name] = {
            "title": text["title"],
            "verdict": over_tasks(task["verdict"] for task in found.values()),
            **found,
        }
    return result


def over_tasks(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for a claim about several tasks."""
    verdicts = list(verdicts)
    if all(verdict == "not run" for verdict in verdicts):
        return "not run"
    if "fails" in verdicts:
        return "fails"
    return "holds" if all(verdict == "holds" for verdict in verdicts) else "inconclusive"


def over_runs(verdicts: list[Verdict]) -> Verdict:
    """One verdict for a claim that was looked at in several runs."""
    if not verdicts:
        return "not run"
    if all(verdict == "holds" for verdict in verdicts):
        return "holds"
    return "fails" if verdicts.count("fails") > len(verdicts) / 2 else "inconclusive"


def by_sign(interval: list[float], direction: int = 1) -> Verdict:
    """Whether an interval lies on the side of zero that a claim says (1 above, -1 below)."""
    low, high = sorted(direction * end for end in interval)
    if low > 0:
        return "holds"
    return "fails" if high < 0 else "inconclusive"


def published_mean(study: Study, task: str, variants: Iterable[str]) -> float | None:
    """Mean of the published accuracies of ``variants``, as a fraction; None if any is unknown."""
    means = [study.published.accuracy.get(name, {}).get(task) for name in variants]
    known = [figure.mean for figure in means if figure is not None]
    return round(sum(known) / len(known) / 100, 4) if known and len(known) == len(means) else None


def injection(study: Study, task: str) -> dict[str, Any]:
    """C1: exact accuracy of asymmetric variants minus that of symmetric ones."""
    names = study.groups(task, "injection")
    groups = {kind: study.group(task, variants) for kind, variants in names.items()}
    result: dict[str, Any] = {"verdict": "not run"}
    for kind, variants in names.items():
        result[kind] = _summary(study, task, variants)
    shared = {v: study.accuracy(task, v) for kind in names.values() for v in kind}
    means = {v: float(accuracies.mean()) for v, accuracies in shared.items() if len(accuracies)}
    if means:
        best = max(means, key=lambda v: means[v])
        result["best_shared"] = {"variant": best, "exact_accuracy": round(means[best], 6)}
    result["hrm"] = _summary(study, task, ["hrm"])
    published = [published_mean(study, task, names[kind]) for kind in names]
    if None not in published:
        result["published"] = round(published[0] - published[1], 4)  # type: ignore[operator]
    ours, others = groups.get("asymmetric", NONE), groups.get("symmetric", NONE)
    if not len(ours) or not len(others):
        return result
    result["effect"], ends = contrast([ours, others], [1, -1])
    result["regime"] = _regime(result[kind] for kind in names)
    verdict: Verdict = "inconclusive"
    if ends is not None:
        result["interval"] = ends
        verdict = _if_converged(by_sign(ends), result["regime"])
        if by_sign(ends) == "inconclusive":
            result["runs_to_decide"] = runs_to_decide(ours, others)
    return result | {"verdict": verdict}


def commitment(study: Study, task: str) -> dict[str, Any]:
    """C2: the share of undecided cells, over a whole rollout, in z_H and in z_L."""
    threshold = study.claims["C2"]["committed"]
    runs = {}
    for seed, measures in _probed(study.rollouts(task)).items():
        states = {"z_L": measures.z_L, "z_H": measures.z_H}
        ends = {name: state.undecided_overall_interval for name, state in states.items()}
        if ends["z_H"][1] <= threshold < ends["z_L"][0]:
            verdict: Verdict = "holds"
        elif ends["z_H"][0] > threshold or ends["z_L"][1] <= threshold:
            verdict = "fails"
        else:
            verdict = "inconclusive"
        runs[seed] = {"verdict": verdict} | {
            name: {
                "undecided": state.undecided_overall,
                "interval": ends[name],
                "moves": state.undecided_moves,
            }
            for name, state in states.items()
        }
    return _over_probed(study, task, runs)


def freezing(study: Study, task: str) -> dict[str, Any]:
    """C3: content changes of the moving state, frozen minus normal; accuracy when frozen."""
    directions = study.claims["C3"]["directions"][task]
    failed = study.claims["C3"]["failed"]
    runs = {}
    for seed, measures in _probed(study.freezes(task)).items():
        entry: dict[str, Any] = {"normal_accuracy": measures.normal.z_H.exact_accuracy}
        parts: list[Verdict] = []
        for condition, direction in directions.items():
            effect = measures.effects.of(condition)
            accuracy = measures.condition(condition).state(effect.state).exact_accuracy
            parts += [
                by_sign(effect.interval, direction),
                "holds" if accuracy <= failed else "fails",
            ]
            entry[condition] = {
                "content_changes": effect.content_changes,
                "interval": effect.interval,
                "exact_accuracy": accuracy,
            }
        runs[seed] = {"verdict": over_tasks(parts), **entry}
    result = _over_probed(study, task, runs)
    figures = study.published.freeze.get(task)
    if figures:
        result["published"] = {
            "freeze_H": figures.freeze_H.z_L - figures.normal.z_L,
            "freeze_L": figures.freeze_L.z_H - figures.normal.z_H,
        }
    return result


def level_tokens(study: Study, task: str) -> dict[str, Any]:
    """C4: the share of the gap from L2x_H2x to Lx_H that each level token closes."""
    threshold = study.claims["C4"]["restored"]
    tokens = ["level_token_prepend", "level_token_addition", "level_token_prepend_no_strip"]
    names = ["L2x_H2x", "Lx_H", *tokens]
    result: dict[str, Any] = {"verdict": "not run"}
    result |= {name: _summary(study, task, [name]) for name in names if name != "Lx_H"}
    groups = {name: study.accuracy(task, name) for name in names}
    result["missing"] = [name for name in names if not len(groups[name])]
    base, full = groups["L2x_H2x"], groups["Lx_H"]
    if not len(base) or not len(full):
        return result
    result["gap"], of_gap = contrast([full, base], [1, -1])
    if of_gap is not None:
        result["gap_interval"] = of_gap
    is_gap = of_gap is not None and by_sign(of_gap) == "holds"
    parts: list[Verdict] = []
    for name in tokens:
        runs = groups[name]
        if not len(runs):
            continue
        if result["gap"] > 0:
            regained = float(runs.mean() - base.mean()) / result["gap"]
            result[name]["restored"] = round(regained, 4)
        # more than the threshold's share of the gap: runs - base - threshold (full - base) > 0
        _, ends = contrast([runs, base, full], [1, threshold - 1, -threshold])
        if ends is None or not is_gap:
            parts.append("inconclusive")
        else:
            parts.append(by_sign(ends, 1 if name == tokens[0] else -1))
    if not result["missing"]:
        there = [result[name] for name in names if name != "Lx_H"]
        result["regime"] = _regime([*there, _summary(study, task, ["Lx_H"])])
        result["verdict"] = _if_converged(over_tasks(parts), result["regime"])
    return result


def locality(study: Study, task: str) -> dict[str, Any]:
    """C5: the neighbourhood contrast on control cells; the violation contrast on adjacent ones."""
    runs = {}
    for seed, measures in _probed(study.attentions(task)).items():
        nearest = measures.control.nearest
        contrast = measures.control.contrasts[nearest]
        signs = [_sign(ends) for ends in contrast.interval]
        if all(sign == "holds" for sign in signs):
            verdict: Verdict = "holds"
        else:
            verdict = "fails" if signs.count("fails") >= len(signs) / 2 else "inconclusive"
        entry: dict[str, Any] = {
            "contrast": nearest,
            "mean": contrast.mean,
            "interval": contrast.interval,
        }
        if task in study.claims["C5"]["violations"]:
            violations = measures.adjacent.contrasts["d_viol"]
            entry["d_viol"] = {"mean": violations.mean, "interval": violations.interval}
            first, last = (_sign(violations.interval[layer]) for layer in (0, -1))
            routing: Verdict = "inconclusive"
            if last == "holds" and first != "holds":
                routing = "holds"
            elif last == "fails":
                routing = "fails"
            verdict = over_tasks([verdict, routing])
        runs[seed] = {"verdict": verdict, **entry}
    result = _over_probed(study, task, runs)
    figures = study.published.attention.get(task)
    if figures:
        result["published"] = [mean for mean, _ in figures.control.d_nbr]
    return result


def operators(study: Study, task: str) -> dict[str, Any]:
    """C6: exact accuracy of each operator minus that of Lx_H, held against a margin."""
    margin = study.claims["C6"]["margin"]
    plain = study.accuracy(task, PROBED)
    result: dict[str, Any] = {"verdict": "not run", PROBED: _summary(study, task, [PROBED])}
    parts: list[Verdict] = []
    for name in study.params.task(task).variants:
        says = study.variants[name]
        other = says.operator != "add" or min(says.n_L, says.n_H) < 0
        runs = study.accuracy(task, name)
        if not other or not len(runs) or not len(plain):
            continue
        result[name] = _summary(study, task, [name])
        result[name]["effect"], ends = contrast([runs, plain], [1, -1])
        part: Verdict = "inconclusive"
        if ends is not None:
            result[name]["interval"] = ends
            if -margin < ends[0] and ends[1] < margin:
                part = "holds"
            elif ends[0] > margin or ends[1] < -margin:
                part = "fails"
        found = _regime([result[PROBED], result[name]])
        parts.append(_if_converged(part, found))
    if parts:
        result["regime"] = _regime(entry for entry in result.values() if isinstance(entry, dict))
        result["verdict"] = over_tasks(parts)
    return result


def _summary(study: Study, task: str, variants: list[str]) -> dict[str, Any]:
    """A group of runs: how many, how accurate, and in which regime."""
    accuracies = study.group(task, variants)
    if not len(accuracies):
        return {"runs": 0}
    curves = [curve for run, curve in study.curves(task).items() if run[0] in variants]
    return {
        "runs": len(accuracies),
        "exact_accuracy": round(float(accuracies.mean()), 6),
        **regime(curves, study.params.task(task).train),
    }


def _regime(groups: Iterable[dict[str, Any]]) -> str:
    """The regime of a comparison of groups: that of the one that is furthest from the end."""
    found = {group["regime"] for group in groups if group["runs"]}
    return next((name for name in ("unknown", "still learning") if name in found), "converged")


def _if_converged(verdict: Verdict, regime: str) -> Verdict:
    """A verdict on models that have finished learning, which others cannot decide."""
    return verdict if regime == "converged" or verdict == "not run" else "inconclusive"


def input_sided(study: Study, task: str) -> dict[str, Any]:
    """X1: the neighbourhood contrast, over all layers, has the sign of n_L - n_H."""
    none = study.claims["X1"]["none"][task]

    def effect(measures: AttentionMeasures) -> Overall:
        return measures.control.contrasts[measures.control.nearest].all_layers

    return _over_sides(study, task, study.attentions(task), effect, none, mirrored=True)


def surer(study: Study, task: str) -> dict[str, Any]:
    """X2: z_H's margin on query cells is above z_L's where the input enters asymmetrically."""

    def effect(measures: RolloutMeasures) -> Overall:
        return Overall(mean=measures.margin_lead, interval=measures.margin_lead_interval)

    none = study.claims["X2"]["none"]
    return _over_sides(study, task, study.rollouts(task), effect, none, mirrored=False)


def _over_sides(
    study: Study,
    task: str,
    probed: dict[Run, M],
    effect: Callable[[M], Overall],
    none: float,
    mirrored: bool,
) -> dict[str, Any]:
    """Whether each probed run's effect is as its variant's side says, and all of them together.

    ``mirrored``: H-sided variants should show the reverse of L-sided ones, not the same.
    """
    plain = study.members(task, "injection")
    entries: dict[str, Any] = {}
    kinds: set[int] = set()
    for (variant, seed), measures in probed.items():
        if variant not in plain:
            continue
        says = study.variants[variant]
        side = int(np.sign(says.n_L - says.n_H)) if mirrored else says.n_L != says.n_H
        found = effect(measures)
        solved = study.solved(task, (variant, seed))
        ends = [end for end in found.interval if end is not None]
        verdict: Verdict = "inconclusive"
        if len(ends) == 2 and solved > LEARNED:
            kinds.add(int(side))
            verdict = _beyond(ends, int(side), none) if side else _within(ends, none)
        entries[f"{variant} seed{seed}"] = {
            "verdict": verdict,
            "effect": found.mean,
            "interval": found.interval,
            "solved": round(solved, 6) if solved == solved else None,
        }
    if not entries:
        return {"verdict": "not run"}
    verdict = over_runs([entry["verdict"] for entry in entries.values()])
    if len(kinds) < 2 and verdict == "holds":
        verdict = "inconclusive"  # nothing to compare with
    return {"verdict": verdict, "runs": entries}


def _beyond(ends: list[float], side: int, none: float) -> Verdict:
    low, high = sorted(side * end for end in ends)
    if low > none:
        return "holds"
    return "fails" if high < none else "inconclusive"


def _within(ends: list[float], none: float) -> Verdict:
    low, high = ends
    if -none < low and high < none:
        return "holds"
    return "fails" if low > none or high < -none else "inconclusive"


def _probed(found: dict[Run, M]) -> dict[int, M]:
    """A probe's measures of the default variant, by seed."""
    return {seed: measures for (variant, seed), measures in found.items() if variant == PROBED}


def _over_probed(study: Study, task: str, runs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The verdict over probed runs, and the runs' entries, each with the share it solves."""
    entries: dict[str, Any] = {}
    for seed, entry in runs.items():
        solved = study.solved(task, (PROBED, seed))
        if not solved > LEARNED:
            entry = entry | {"verdict": "inconclusive"}
        share = round(solved, 6) if solved == solved else None
        entries[f"seed{seed}"] = {**entry, "solved": share}
    verdicts = [entry["verdict"] for entry in entries.values()]
    return {"verdict": over_runs(verdicts), **entries}


def _sign(ends: list[float | None]) -> Verdict:
    known = [end for end in ends if end is not None]
    return by_sign(known) if len(known) == 2 else "inconclusive"
