rule check:
    input:
        params="params.yaml",
        code=code("check"),
    output:
        "results/params.json",
    log:
        "logs/check.log",
    benchmark:
        "logs/benchmark/check.tsv"
    conda:
        "../../environment.yml"
    params:
        stage="check",
    shell:
        REPRO


rule data:
    input:
        code=code("data"),
    output:
        train="data/{task}/train.safetensors",
        test="data/{task}/test.safetensors",
        statistics="data/{task}/statistics.json",
    log:
        "logs/data/{task}.log",
    benchmark:
        "logs/benchmark/data/{task}.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    params:
        stage="data@{task}",
        data=setting("{task}", "data"),
    shell:
        REPRO
