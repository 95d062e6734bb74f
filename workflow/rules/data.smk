# What many cells wait for goes first: else the features of one data set run alone when all cells of another are done.
BEFORE_CELLS = 1


rule dataset:
    input:
        unpack(inputs_of("dataset")),
    output:
        description="results/data/{key}/dataset.json",
        table="results/data/{key}/items.parquet",
    log:
        "results/logs/dataset/{key}.log",
    priority: BEFORE_CELLS
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("dataset"),
    shell:
        'clce-bench dataset --job {params.job:q} --output "$(dirname {output.description:q})" '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule splits:
    input:
        unpack(inputs_of("splits")),
    output:
        description="results/splits/{key}/splits.json",
        splits="results/splits/{key}/splits.parquet",
    log:
        "results/logs/splits/{key}.log",
    priority: BEFORE_CELLS
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("splits"),
    shell:
        'clce-bench splits --job {params.job:q} --output "$(dirname {output.description:q})" '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule labels:
    input:
        unpack(inputs_of("labels")),
    output:
        description="results/labels/{key}/dataset.json",
        table="results/labels/{key}/items.parquet",
    log:
        "results/logs/labels/{key}.log",
    priority: BEFORE_CELLS
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("labels"),
    shell:
        'clce-bench labels --job {params.job:q} --output "$(dirname {output.description:q})" '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule episodes:
    input:
        unpack(inputs_of("episodes")),
    output:
        description="results/episodes/{key}/episodes.json",
        episodes="results/episodes/{key}/episodes.npz",
    log:
        "results/logs/episodes/{key}.log",
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("episodes"),
    shell:
        'clce-bench episodes --job {params.job:q} --output "$(dirname {output.description:q})" '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"
