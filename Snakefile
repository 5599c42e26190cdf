# The study under Snakemake: when and where each stage runs. What a stage is (command, dependencies,
# parameters, outputs) stands in dvc.yaml, and every job is one call of `dvc repro` for its stage.


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/probe.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        pages=PAGES,
        explorer=EXPLORER,
        cost="reports/html/cost.html",
        claims="reports/claims.json",
        runs=outputs_of_runs,
        params="results/params.json",
        data=DATA,


onstart:
    take_over()
    do_without()
