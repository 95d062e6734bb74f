import gc
import os
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

# The graph of jobs is built and kept. Looking for garbage in it every few objects takes a third of the time that a run of
# 10,000 cells needs to find out that nothing is to be done.
gc.set_threshold(1_000_000)

# Losses of the user's own lie in the folder from which the workflow runs.
sys.path.insert(0, os.getcwd())

EXPERIMENT_FILE = str((workflow.overwrite_configfiles or ["config.yaml"])[-1])

try:
    PLAN = plan_of(parse_experiment(config, EXPERIMENT_FILE))
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

# A job that Snakemake starts elsewhere reads this file again; what is to run was settled before, and is left alone.
if workflow.is_main_process:
    PLAN.prepare()
    RERUNS = Reruns(PLAN)
    RERUNS.announce()
    # At once: Snakemake takes an input function that fails for a file that nobody makes.
    INPUTS = {
        node: {
            name: ancient(path) if old else path
            for name, (path, old) in RERUNS.inputs(node).items()
        }
        for node in RERUNS.nodes
    }
else:
    INPUTS = {
        (verb, key): job.inputs
        for verb, jobs in PLAN.jobs.items()
        for key, job in jobs.items()
    }

# One on a cluster imports torch once for all cells of its batch.
if workflow.remote_exec:
    warm.allow()
    finished.keep_all()


FOLDER = str(PLAN.folder)
# Where a profile says that training has no GPU, what it needs is worked out for cores.
GPU = workflow.resource_settings.overwrite_resources.get("train", {}).get("gpu")
BATCH = workflow.group_settings.group_components.get("small_cells", 1)
if workflow.is_main_process:
    BATCH = max(1, min(BATCH, sum(node.verb == "evaluate" for node in RERUNS.runs)))
ESTIMATES = Estimates(PLAN, GPU and GPU.value, BATCH)

# Cells are batched on clusters only, though a dry run shows the batches anywhere. A large cell is evaluated by a job of its
# own, which has no GPU. What has come to a job of a cluster stays together, whatever was learnt about its cells meanwhile.
if workflow.remote_exec:
    CELLS = EVALUATIONS = "batch"
elif ESTIMATES.small:
    CELLS = EVALUATIONS = "small_cells"
else:
    CELLS, EVALUATIONS = "cells", "evaluations"

# Jobs call clce-bench, which lies beside the Python that reads this file, whether its environment is active or not. In a
# container or a conda environment they run the code that lies here, for that is what results are marked with. How they run
# is told by a variable: as a parameter of a rule it would run them again when it changes.
RUNTIME = (
    PLAN.experiment.runtime.model_dump_json().replace("{", "{{").replace("}", "}}")
)
PATHS = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
if workflow.deployment_settings.deployment_method & {
    DeploymentMethod.CONDA,
    DeploymentMethod.APPTAINER,
}:
    PATHS = f'export PYTHONPATH={shlex.quote(workflow.basedir)}; clce-bench() {{{{ python -m clce_bench.cli "$@"; }}}}'
shell.prefix(f"{PATHS}; export CLCE_BENCH_RUNTIME={shlex.quote(RUNTIME)}; ")

# What follows a run is done by the Python that reads this file, also where jobs run in a container.
CLI = f"{shlex.quote(sys.executable)} -m clce_bench.cli"


def job_of(verb, wildcard="key"):
    """Gives the one parameter of a rule: the job's canonical JSON."""
    return lambda wildcards: PLAN.jobs[verb][wildcards[wildcard]].param


def run_batch_as_one():
    """Tells Snakemake, in a job of a cluster, what it was told on the head node and does not pass on.

    A batch goes on past a cell that fails, runs in one process, not in one per cell, and keeps to what it was given.
    """
    workflow.execution_settings.keep_going = True
    workflow.group_settings.group_components = {CELLS: sys.maxsize}
    for name, amount in given_to_this_job().items():
        workflow.global_resources[name] = amount


def check_names():
    """Refuses to submit anything to a cluster from a place whose name would run as a command there."""
    if workflow.local_exec:
        return
    places = {
        "the experiment file": EXPERIMENT_FILE,
        "the working directory": os.getcwd(),
        "the Snakefile": workflow.main_snakefile,
        "Python": sys.executable,
    }
    try:
        check_shell_names(places)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def inputs_of(verb, key=None):
    """Gives a job's inputs by name; those of a job that is not to run say nothing by their age."""

    def inputs(wildcards):
        if workflow.remote_exec:
            run_batch_as_one()
        return INPUTS[verb, key or wildcards.key]

    return inputs


def own_inputs_of(verb):
    """Gives the inputs of a stage that runs once per experiment."""
    return inputs_of(verb, PLAN.experiment.name)


def needs(stage, name):
    """Gives what a job of a stage asks a cluster for."""
    return lambda wildcards, attempt: getattr(
        getattr(ESTIMATES, stage)(wildcards.key, attempt), name
    )


def own_job(verb):
    """Gives the one parameter of a stage that runs once per experiment."""
    return lambda wildcards: PLAN.jobs[verb][PLAN.experiment.name].param


def labels_of_figure(wildcards):
    """Says in Snakemake's own report what a figure is and whose cells it shows."""
    options = PLAN.jobs["figures"][wildcards.key].spec
    return {
        "figure": options["kind"].replace("_", " "),
        "grid": ", ".join(options["grid"]),
        "name": options["name"],
    }
