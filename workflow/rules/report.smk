rule figures:
    input:
        unpack(inputs_of("figures")),
    output:
        svg=report(
            f"{FOLDER}/figures/{{key}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda wildcards: figure_labels(
                PLAN.jobs["figures"][wildcards.key].spec
            ),
        ),
        narrow=f"{FOLDER}/figures/{{key}}.narrow.svg",
        png=f"{FOLDER}/figures/{{key}}.png",
        pdf=f"{FOLDER}/figures/{{key}}.pdf",
        data=f"{FOLDER}/figures/{{key}}.csv",
        caption=f"{FOLDER}/figures/{{key}}.txt",
        rst=f"{FOLDER}/figures/{{key}}.rst",
        cells=f"{FOLDER}/figures/{{key}}.cells.txt",
    log:
        f"results/logs/figures/{OWN}-{{key}}.log",
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("figures"),
    shell:
        "clce-bench figures --job {params.job:q} --output {output.svg:q} > {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule report:
    input:
        unpack(inputs_of("report", OWN)),
    output:
        page=report(
            f"{FOLDER}/report.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "report"},
        ),
    log:
        f"results/logs/report/{OWN}.log",
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("report", OWN),
    shell:
        f"clce-bench report --experiment {FOLDER}/experiment.json "
        "--output {output.page:q} "
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule track:
    input:
        unpack(inputs_of("track", OWN)),
    output:
        tracked=f"{FOLDER}/tracked.json",
        runs=f"{FOLDER}/runs.html",
    log:
        f"results/logs/track/{OWN}.log",
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("track", OWN),
    shell:
        f"clce-bench track --experiment {FOLDER}/experiment.json "
        "--output {output.tracked:q} "
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"
