# `snakemake` in the project's folder finds this file; the workflow is where tools look for it.
include: "workflow/Snakefile"


# An included file's default target does not count.
workflow.default_target = "all"
