"""What each kind of figure shows, word for word on the pages and in Snakemake's report.

The titles, which say what came out, are made with the figures.
"""

CAPTIONS = {
    "puzzles": "Training puzzles (above) and their answers (below).",
    "traits": "How training and test puzzles are distributed; traits that are the same for all "
    "puzzles are left out.",
    "accuracy": "Share of test puzzles solved, one dot per training run, a bar at the mean of a "
    "variant's runs; diamond: mean share of training puzzles solved. Blue: the input enters the "
    "two updates differently; orange: alike.",
    "depth": "Share of test puzzles solved if the answer is read after so many segments: thin "
    "lines are runs, thick ones means.",
    "training": "Left: loss per cell. Right: share of training puzzles solved, counted at the step "
    "at which their slot halts. Each point is the mean over the steps since the one before; thin "
    "lines are runs, thick ones means.",
    "rollout": "What the two states show when decoded after every update, over a whole rollout. "
    "One run: mean over puzzles, band of one standard error. Several: thin lines are runs, thick "
    "ones means.",
    "inside": "Means over puzzles and runs; z_H solid, z_L dotted. Margin: lead of the best token "
    "over the second on the cells to be filled in. Change: distance of a state from itself one "
    "segment before, 0 at a fixed point.",
    "boards": "The boards that z_L (above) and z_H (below) show after the sub-step named. Bold: "
    "given. Grey: undecided. Red: differs from the answer. Red frame: breaks a rule.",
    "freeze": "Cells that change between consecutive decoded boards, summed over a rollout. "
    "Content changes leave a cell's membership in the mask as it is, mask flips change it. Bars "
    "are means over runs, dots the runs.",
    "transitions": "Content changes at every step from one decoded board to the next. Thin lines "
    "are runs, thick ones means. A state that is not updated does not change, hence the teeth.",
    "attention": "Attention of L-updates minus that of H-updates (entropy: the reverse), so that "
    "above zero the L-update is the more local. Bars are means over query cells, whiskers 95 % "
    "bootstrap intervals over whole puzzles; with several runs, bars are means over runs and "
    "dots the runs.",
    "parts": "The same attention, split: the part of the neighbourhood that the title of a panel "
    "names, mean over layers. Parts overlap, so they add up to more than the whole. Dots are means "
    "over query cells, whiskers 95 % bootstrap intervals over whole puzzles; with several runs, "
    "large dots are means over runs and small ones the runs.",
    "emergence": "At each snapshot of a training: test puzzles solved (dashed: 10 %); attention of "
    "L-updates nearby minus that of H-updates, on all query cells (grey: counts as no split); how "
    "far the best token leads the second on query cells; content changes over a rollout while the "
    "other state is frozen, minus those while nothing is. The axis of steps is logarithmic after "
    "the first snapshot beyond step 0. One run of a variant: mean over puzzles, band of its 95 % "
    "interval. Several: thin lines are runs, thick ones means.",
    "strip": "The boards that z_L (above) and z_H (below) show at the end of a rollout after the "
    "optimiser step named. Bold: given. Grey: undecided. Red: differs from the answer. Red frame: "
    "breaks a rule.",
    "map": "Where one cell (black frame) looks in the first L-update and the first H-update of a "
    "segment, layer by layer, mean over heads; a layer is shaded up to its darkest cell. Percent: "
    "share on its neighbourhood (blue outline). Red: cells that break a rule on the board that z_H "
    "shows then. Large boards: below, the 11 x 11 cells in the black square, and their share "
    "(here).",
    "segments": "The same cell, mean over heads in the last layer, at the segments looked at (at "
    "most eight, evenly spread); all maps of a run are shaded alike. Percent: share on the "
    "neighbourhood (blue outline). Red: cells that break a rule on the board that z_H shows. "
    "Large boards: the 11 x 11 cells around the cell.",
    "heads": "The same cell in the last layer: the mean over heads, then the heads (at most eight, "
    "evenly spread), each shaded up to its own darkest cell. Percent: share on the neighbourhood "
    "(blue outline). Large boards: the 11 x 11 cells around the cell.",
}
