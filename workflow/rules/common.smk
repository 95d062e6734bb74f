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


def inputs_of(verb, wildcard="key"):
    """Gives a job's inputs by name, with the stamp of the code that makes the result."""

    def inputs(wildcards):
        job = PLAN.jobs[verb][wildcards[wildcard]]
        return {**job.inputs, "code": job.stamp}

    return inputs


def own_job(verb):
    """Gives the job of a stage that runs once per experiment."""
    return PLAN.jobs[verb][PLAN.experiment.name]


def own_inputs_of(verb):
    """Gives the inputs of such a stage; nothing where the experiment does not have it."""
    jobs = PLAN.jobs[verb].values()
    return {**dict(*(job.inputs for job in jobs)), **{"code": job.stamp for job in jobs}}


def labels_of_figure(wildcards):
    """Says in Snakemake's own report what a figure is and whose cells it shows."""
    options = PLAN.jobs["figures"][wildcards.key].spec
    return {
        "figure": options["kind"].replace("_", " "),
        "grid": ", ".join(options["grid"]),
        "name": options["name"],
    }
