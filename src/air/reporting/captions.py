"""What each kind of figure shows, word for word on the pages and in Snakemake's report.

The titles, which say what came out, are made with the figures.
"""

CAPTIONS = {
    "puzzles": "Training puzzles (above) and their answers (below).",
    "traits": "Distribution of each trait over training and test puzzles. Traits that are the same "
    "for all puzzles are left out.",
    "accuracy": "Share of test puzzles solved: a dot for each training run, a bar at the mean over "
    "the runs of a variant. Diamond: mean share of training puzzles solved. Blue: the input enters "
    "the two updates unequally; orange: equally.",
    "depth": "Share of test puzzles solved if the answer is read after the given number of "
    "segments. Thin lines are runs, thick lines means.",
    "training": "Left: loss per cell. Right: share of training puzzles solved, counted when their "
    "slot halts, with the weights of that step (not with their moving average, if one is kept). "
    "Each point is the mean over the steps since the previous point. Thin lines are runs, thick "
    "lines means.",
    "rollout": "The two states, decoded after every update of a rollout: cells right (above) and "
    "cells undecided (below). One run: mean over puzzles, with a band of one standard error. "
    "Several runs: thin lines are runs, thick lines means.",
    "inside": "Means over puzzles and runs; z_H solid, z_L dotted. Margin: lead of the best token "
    "over the second on the cells to be filled in. Change: relative distance of a state from its "
    "value one segment before; 0 at a fixed point.",
    "boards": "The boards decoded from z_L (above) and z_H (below) after single sub-steps, whose "
    "numbers are given. Bold: given. Grey: undecided. Red: filled in wrongly. Question mark: "
    "padding, which is never right. Red frame: breaks a rule.",
    "freeze": "Cells that change between consecutive decoded boards, summed over a rollout. Mask "
    "flips: the cell enters or leaves the mask; content changes: all others. Bars are means over "
    "runs, dots the runs.",
    "transitions": "Content changes from each decoded board to the next. Thin lines are runs, "
    "thick lines means. A state changes only when it is updated, hence the teeth.",
    "attention": "Attention of L-updates minus that of H-updates (entropy: the reverse), so that "
    "above zero the L-update is the more local one. Bars are means over query cells, whiskers 95 % "
    "bootstrap intervals over whole puzzles; with several runs, bars are means over runs and dots "
    "the runs.",
    "parts": "The same difference for each part of the neighbourhood, mean over layers. The parts "
    "overlap, so they do not add up to the whole. Dots are means over query cells, whiskers 95 % "
    "bootstrap intervals over whole puzzles; with several runs, large dots are means over runs and "
    "small dots the runs.",
    "emergence": "At each snapshot of a training: test puzzles solved (dashed: 10 %); attention "
    "nearby, L-update minus H-update, on all query cells (grey: counts as no split); lead of the "
    "best token over the second on query cells; content changes over a rollout with the other "
    "state frozen, minus those with nothing frozen. The axis of steps is logarithmic from the "
    "first snapshot after step 0 on. One run of a variant: mean over puzzles, with a band for the "
    "95 % interval. Several runs: thin lines are runs, thick lines means.",
    "strip": "The boards decoded from z_L (above) and z_H (below) at the end of a rollout, after "
    "the number of optimiser steps given. Bold: given. Grey: undecided. Red: filled in wrongly. "
    "Question mark: padding, which is never right. Red frame: breaks a rule.",
    "map": "Attention of one cell (black frame) in one L-update and one H-update of a segment (the "
    "first, unless params.yaml names others), by layer, mean over heads; L and H share a scale of "
    "shading, which differs between layers. Percent: share on its neighbourhood (blue outline). "
    "Red outline: cells that break a rule on the board of z_H at that time. Large boards: below, "
    "the 11 x 11 cells in the black square, with their share (here). Layers and segments are "
    "counted from 1, in params.yaml from 0.",
    "segments": "The same cell in the last layer, mean over heads, at up to eight of the segments "
    "measured; all maps of a run share a scale of shading. Percent: share on the neighbourhood "
    "(blue outline). Red outline: cells that break a rule on the board of z_H. Large boards: the "
    "11 x 11 cells around the cell.",
    "heads": "The same cell in the last layer: the mean over heads, then up to eight single heads; "
    "L and H share a scale of shading, which differs between columns. Percent: share on the "
    "neighbourhood (blue outline). Large boards: the 11 x 11 cells around the cell.",
}
