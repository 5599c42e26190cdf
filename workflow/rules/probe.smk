rule rollout:
    input:
        data="data/{task}/test.safetensors",
        model=f"{RUN}/model.safetensors",
        code=code("rollout_sudoku"),
    output:
        measures=update(f"{RUN}/rollout.json"),
        boards=f"{RUN}/rollout.npz",
    log:
        "logs/rollout/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/rollout/{task}/{variant}/seed{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        stage=of_model("rollout"),
        imported=probes_of,
        compute=setting("compute"),
        probe=setting("{task}", "probes", "rollout"),
    shell:
        REPRO


rule freeze:
    input:
        data="data/{task}/test.safetensors",
        model=f"{RUN}/model.safetensors",
        code=code("freeze_sudoku"),
    output:
        update(f"{RUN}/freeze.json"),
    log:
        "logs/freeze/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/freeze/{task}/{variant}/seed{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        stage=of_model("freeze"),
        imported=probes_of,
        compute=setting("compute"),
        probe=setting("{task}", "probes", "freeze"),
    shell:
        REPRO


rule attention:
    input:
        data="data/{task}/test.safetensors",
        model=f"{RUN}/model.safetensors",
        code=code("attention_sudoku"),
    output:
        measures=update(f"{RUN}/attention.json"),
        maps=f"{RUN}/attention.npz",
    log:
        "logs/attention/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/attention/{task}/{variant}/seed{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        stage=of_model("attention"),
        imported=probes_of,
        compute=setting("compute"),
        probe=setting("{task}", "probes", "attention"),
    shell:
        REPRO


use rule freeze as emergence with:
    input:
        data="data/{task}/test.safetensors",
        snapshots=f"{RUN}/snapshots.safetensors",
        code=code("emergence_sudoku"),
    output:
        measures=update(f"{RUN}/emergence.json"),
        boards=f"{RUN}/emergence.npz",
    log:
        "logs/emergence/{task}/{variant}/seed{seed}.log",
    benchmark:
        "logs/benchmark/emergence/{task}/{variant}/seed{seed}.tsv"
    params:
        stage=of_model("emergence"),
        imported=probes_of,
        compute=setting("compute"),
        probe=setting("{task}", "probes", "emergence"),
