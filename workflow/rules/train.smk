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
        stage="evaluate_{task}@{variant}-{seed}",
        compute=setting("compute"),
        evaluation=setting("{task}", "evaluation"),
    shell:
        REPRO
