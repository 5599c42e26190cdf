rule claims:
    input:
        runs=outputs_of_runs,
        params="results/params.json",
        paper="reports/paper.yaml",
        code=code("claims"),
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
        paper="reports/paper.yaml",
        code=code("report"),
    output:
        page=report("reports/html/{notebook}.html", category="Pages", labels={"page": "{notebook}"}),
        files=report(
            directory("reports/html/files/{notebook}"),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{notebook}",
            labels={"figure": "{figure}"},
        ),
    log:
        "logs/report/{notebook}.log",
    benchmark:
        "logs/benchmark/report/{notebook}.tsv"
    conda:
        "../../environment.yml"
    params:
        stage="report@{notebook}",
        captions=CAPTIONS,
    shell:
        REPRO


rule explore:
    input:
        runs=outputs_of_runs,
        params="results/params.json",
        data=DATA,
        paper="reports/paper.yaml",
        code=code("explore"),
    output:
        EXPLORER,
    log:
        "logs/explore.log",
    benchmark:
        "logs/benchmark/explore.tsv"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        gpu=GPU,
    params:
        stage="explore",
        compute=setting("compute"),
    shell:
        REPRO


# What the jobs took is never the same twice, so this page is no stage of DVC's.
rule cost:
    input:
        notebook="reports/cost.ipynb",
        pages=[*PAGES, EXPLORER],
        code=code("report"),
    output:
        page="reports/html/cost.html",
        files=directory("reports/html/files/cost"),
    log:
        "logs/report/cost.log",
    conda:
        "../../environment.yml"
    shell:
        "air report cost 2>&1 | tee -i {log:q}"
