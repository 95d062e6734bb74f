rule evaluate:
    input:
        unpack(inputs_of("evaluate")),
    output:
        metrics="results/cells/{key}/metrics.json",
        arrays="results/cells/{key}/metrics.npz",
    log:
        "results/logs/evaluate/{key}.log",
    group:
        GROUPS.evaluations
    conda:
        "../envs/clce_bench.yaml"
    resources:
        mem_mb=needs("evaluation", "mem_mb"),
        runtime=needs("evaluation", "runtime"),
        cpus_per_task=needs("evaluation", "cpus_per_task"),
    params:
        job=job_of("evaluate"),
    shell:
        "clce-bench evaluate --job {params.job:q} --output {output.metrics:q} > {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule measure:
    input:
        unpack(inputs_of("measure")),
    output:
        metrics="results/cells/{key}.json",
        arrays="results/cells/{key}.npz",
    log:
        "results/logs/measure/{key}.log",
    wildcard_constraints:
        key=".+/measure-[^/]+",
    conda:
        "../envs/clce_bench.yaml"
    resources:
        mem_mb=needs("measure", "mem_mb"),
        runtime=needs("measure", "runtime"),
        cpus_per_task=needs("measure", "cpus_per_task"),
    params:
        job=job_of("measure"),
    shell:
        "clce-bench measure --job {params.job:q} --output {output.metrics:q} > {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule tune:
    input:
        unpack(inputs_of("tune", OWN)),
    output:
        choices=f"{FOLDER}/tuning.json",
        trials=f"{FOLDER}/tuning.csv",
        studies=f"{FOLDER}/tuning.db",
    log:
        f"results/logs/tune/{OWN}.log",
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("tune", OWN),
    shell:
        "clce-bench tune --experiment $(dirname {output.choices:q})/experiment.json --output {output.choices:q} "
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule summarize:
    input:
        unpack(inputs_of("summarize", OWN)),
    output:
        csv=f"{FOLDER}/summary.csv",
        parquet=f"{FOLDER}/summary.parquet",
        history=f"{FOLDER}/history.parquet",
        comparisons=f"{FOLDER}/comparisons.parquet",
        pairs=f"{FOLDER}/pairs.parquet",
        variance=f"{FOLDER}/variance.parquet",
        verdicts=f"{FOLDER}/verdicts.json",
        tables=directory(f"{FOLDER}/tables"),
    log:
        f"results/logs/summarize/{OWN}.log",
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("summarize", OWN),
    shell:
        f"clce-bench summarize --experiment {FOLDER}/experiment.json "
        '--output "$(dirname {output.csv:q})" '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"
