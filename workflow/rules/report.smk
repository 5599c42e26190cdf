rule claims:
    input:
        runs=outputs_of_runs,
        params="results/params.json",
        texts=["reports/claims.yaml", "reports/paper.yaml"],
        code=code("reporting"),
    output:
        update("reports/claims.json"),
    log:
        "logs/claims.log",
    benchmark:
        "logs/benchmark/claims.tsv"
    conda:
        "../../environment.yml"
    params:
        stage="claims",
    shell:
        REPRO


rule report:
    input:
        notebook="reports/{notebook}.ipynb",
        claims="reports/claims.json",
        runs=outputs_of_runs,
        params="results/params.json",
        data=DATA,
        texts=["reports/claims.yaml", "reports/paper.yaml"],
        code=code("reporting"),
    output:
        report("reports/html/{notebook}.html", category="Pages"),
    log:
        "logs/report/{notebook}.log",
    benchmark:
        "logs/benchmark/report/{notebook}.tsv"
    conda:
        "../../environment.yml"
    params:
        stage="report@{notebook}",
    shell:
        REPRO
