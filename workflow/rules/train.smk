rule backbone:
    input:
        unpack(inputs_of("backbone")),
    output:
        description="results/backbones/{key}/backbone.json",
        weights="results/backbones/{key}/model.safetensors",
    log:
        "results/logs/backbone/{key}.log",
    priority: BEFORE_CELLS
    conda:
        "../envs/clce_bench.yaml"
    params:
        job=job_of("backbone"),
    shell:
        'clce-bench backbone --job {params.job:q} --output "$(dirname {output.description:q})" '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule features:
    input:
        unpack(inputs_of("features")),
    output:
        description="results/features/{key}/features.json",
        features="results/features/{key}/features.npy",
        index="results/features/{key}/index.npy",
    log:
        "results/logs/features/{key}.log",
    priority: BEFORE_CELLS
    conda:
        "../envs/clce_bench.yaml"
    threads: threads_for_features
    resources:
        mem_mb=needs("features", "mem_mb"),
        runtime=needs("features", "runtime"),
        gpu=needs("features", "gpu"),
    params:
        job=job_of("features"),
    shell:
        'clce-bench features --job {params.job:q} --output "$(dirname {output.description:q})" --threads {threads} '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule corruptions:
    input:
        unpack(inputs_of("corruptions")),
    output:
        description="results/corruptions/{key}/corruptions.json",
        inputs="results/corruptions/{key}/inputs.npy",
        rows="results/corruptions/{key}/rows.npy",
    log:
        "results/logs/corruptions/{key}.log",
    conda:
        "../envs/clce_bench.yaml"
    threads: 1
    resources:
        mem_mb=needs("corruptions", "mem_mb"),
        runtime=needs("corruptions", "runtime"),
        gpu=needs("corruptions", "gpu"),
    params:
        job=job_of("corruptions"),
    shell:
        'clce-bench corruptions --job {params.job:q} --output "$(dirname {output.description:q})" --threads {threads} '
        "> {log:q} 2>&1 || (tail -n 3 {log:q} >&2; false)"


rule train:
    input:
        unpack(inputs_of("train")),
    output:
        cell="results/cells/{key}/cell.json",
        history="results/cells/{key}/history.csv",
        model="results/cells/{key}/model.safetensors",
        embeddings="results/cells/{key}/embeddings.npz",
    log:
        "results/logs/train/{key}.log",
    group:
        GROUPS.cells
    conda:
        "../envs/clce_bench.yaml"
    threads: 1
    resources:
        mem_mb=needs("training", "mem_mb"),
        runtime=needs("training", "runtime"),
        cpus_per_task=needs("training", "cpus_per_task"),
        gpu=needs("training", "gpu"),
        nodes=needs("training", "nodes"),
    params:
        job=job_of("train"),
    shell:
        'clce-bench train --job {params.job:q} --output "$(dirname {output.cell:q})" --threads {threads} '
        "> {log:q} 2>&1 || {{ status=$?; tail -n 3 {log:q} >&2; exit $status; }}"
