import os
import shlex
import sys
from pathlib import Path

# Losses of the user's own lie in the folder from which the workflow runs.
sys.path.insert(0, os.getcwd())

EXPERIMENT_FILE = str((workflow.overwrite_configfiles or ["config.yaml"])[-1])

try:
    PLAN = plan_of(parse_experiment(config, EXPERIMENT_FILE))
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

PLAN.prepare()
# A job that Snakemake starts elsewhere reads this file again; what is to run was settled before.
if workflow.is_main_process:
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
FOLDER = str(PLAN.folder)

# Jobs call clce-bench, which lies beside the Python that reads this file, whether its environment is active or not. How
# they run is told by a variable: as a parameter of a rule it would run them again when it changes.
RUNTIME = (
    PLAN.experiment.runtime.model_dump_json().replace("{", "{{").replace("}", "}}")
)
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; export CLCE_BENCH_RUNTIME={shlex.quote(RUNTIME)}; "
)


def job_of(verb, wildcard="key"):
    """Gives the one parameter of a rule: the job's canonical JSON."""
    return lambda wildcards: PLAN.jobs[verb][wildcards[wildcard]].param


def inputs_of(verb, key=None):
    """Gives a job's inputs by name; those of a job that is not to run say nothing by their age."""

    return lambda wildcards: INPUTS[verb, key or wildcards.key]


def own_inputs_of(verb):
    """Gives the inputs of a stage that runs once per experiment."""
    return inputs_of(verb, PLAN.experiment.name)


def own_job(verb):
    """Gives the one parameter of a stage that runs once per experiment."""
    return PLAN.jobs[verb][PLAN.experiment.name].param


def labels_of_figure(wildcards):
    """Says in Snakemake's own report what a figure is and whose cells it shows."""
    options = PLAN.jobs["figures"][wildcards.key].spec
    return {
        "figure": options["kind"].replace("_", " "),
        "grid": ", ".join(options["grid"]),
        "name": options["name"],
    }
