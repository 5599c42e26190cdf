rule rollout:
    input:
        data="data/{task}/test.safetensors",
        model=f"{RUN}/model.safetensors",
        code=code("tasks", "model", "probes"),
    output:
        measures=f"{RUN}/rollout.json",
        boards=f"{RUN}/rollout.npz",
    params:
        stage="rollout_{task}@{variant}-{seed}",
        compute=setting("compute"),
        probe=setting("{task}", "probes", "rollout"),
    log:
        "logs/rollout/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/rollout/{task}/{variant}/seed{seed}.tsv"
    threads: THREADS
    resources:
        gpu=1,
    conda:
        "../../environment.yml"
    shell:
        REPRO


rule freeze:
    input:
        data="data/{task}/test.safetensors",
        model=f"{RUN}/model.safetensors",
        code=code("tasks", "model", "probes"),
    output:
        f"{RUN}/freeze.json",
    params:
        stage="freeze_{task}@{variant}-{seed}",
        compute=setting("compute"),
        probe=setting("{task}", "probes", "freeze"),
    log:
        "logs/freeze/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/freeze/{task}/{variant}/seed{seed}.tsv"
    threads: THREADS
    resources:
        gpu=1,
    conda:
        "../../environment.yml"
    shell:
        REPRO


rule attention:
    input:
        data="data/{task}/test.safetensors",
        model=f"{RUN}/model.safetensors",
        code=code("tasks", "model", "probes"),
    output:
        f"{RUN}/attention.json",
    params:
        stage="attention_{task}@{variant}-{seed}",
        compute=setting("compute"),
        probe=setting("{task}", "probes", "attention"),
    log:
        "logs/attention/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/attention/{task}/{variant}/seed{seed}.tsv"
    threads: THREADS
    resources:
        gpu=1,
    conda:
        "../../environment.yml"
    shell:
        REPRO
