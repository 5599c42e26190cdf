# A training's folder is a variant's, an imported model's has the name that params.yaml gives it.
rule train:
    input:
        data="data/{task}/train.safetensors",
        code=code("train_sudoku"),
    output:
        model=f"{RUN}/model.safetensors",
        snapshots=f"{RUN}/snapshots.safetensors",
        curve=f"{RUN}/training.csv",
    log:
        "logs/train/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/train/{task}/{variant}/seed{seed}.tsv"
    wildcard_constraints:
        variant="".join(f"(?!{name}/)" for name in IMPORTED) + "[^/]+",
    priority: 1  # the longest jobs first, so that none is left over at the end
    conda:
        "../../environment.yml"
    threads: lambda wildcards: THREADS * processes(wildcards)
    resources:
        gpu=lambda wildcards: GPU * processes(wildcards),
    params:
        stage="train_{task}@{variant}-{seed}",
        compute=setting("compute"),
        model=setting("{task}", "model"),
        train=setting("{task}", "train"),
    shell:
        REPRO


rule import_model:
    input:
        data="data/{task}/test.safetensors",
        code=code("import_sudoku"),
    output:
        model="results/{task}/{variant}/seed0/model.safetensors",
        snapshots="results/{task}/{variant}/seed0/snapshots.safetensors",
        origin=update("results/{task}/{variant}/seed0/import.json"),
    log:
        "logs/import/{task}/{variant}.log",
    benchmark:
        "logs/benchmark/import/{task}/{variant}.tsv"
    wildcard_constraints:
        variant="|".join(IMPORTED) or "(?!)",
    conda:
        "../../environment.yml"
    params:
        stage="import_{task}@{variant}",
        checkpoint=probes_of,
    shell:
        REPRO


rule evaluate:
    input:
        train="data/{task}/train.safetensors",
        data="data/{task}/test.safetensors",
        model=f"{RUN}/model.safetensors",
        code=code("evaluate_sudoku"),
    output:
        measures=update(f"{RUN}/evaluation.json"),
        depth=f"{RUN}/depth.csv",
    log:
        "logs/evaluate/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/evaluate/{task}/{variant}/seed{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        stage=of_model("evaluate"),
        compute=setting("compute"),
        evaluation=setting("{task}", "evaluation"),
    shell:
        REPRO
