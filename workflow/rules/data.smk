rule check:
    input:
        "params.yaml",
    output:
        "results/params.json",
    params:
        stage="check",
    log:
        "logs/check.log",
    benchmark:
        "logs/benchmark/check.tsv"
    conda:
        "../../environment.yml"
    shell:
        REPRO


rule data:
    input:
        code=code("tasks"),
    output:
        train="data/{task}/train.safetensors",
        test="data/{task}/test.safetensors",
        statistics="data/{task}/statistics.json",
    params:
        stage="data@{task}",
        data=setting("{task}", "data"),
    log:
        "logs/data/{task}.log",
    benchmark:
        "logs/benchmark/data/{task}.tsv"
    conda:
        "../../environment.yml"
    shell:
        REPRO
