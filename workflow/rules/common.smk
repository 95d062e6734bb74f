import gc
import os
import sys

# The graph of jobs is built and kept. Looking for garbage in it every few objects takes a third of the time that a run of
# 10,000 cells needs to find out that nothing is to be done.
gc.set_threshold(1_000_000)
# Losses of the user's own lie in the folder from which the workflow runs.
sys.path.insert(0, os.getcwd())

commands.name_the_user()

# Not Snakemake's own reading of it, which merges files and takes the last of two equal keys.
with commands.ending_with_a_message():
    EXPERIMENT_FILE = commands.experiment_file(CONFIGFILES, OVERRIDES)
    PLAN = load_plan(Path(EXPERIMENT_FILE))
    if not SETTLED:
        check_store(PLAN.experiment.tracking.uri)
    RERUNS = None if SETTLED else begin(PLAN)
FOLDER, OWN = str(PLAN.folder), PLAN.experiment.name
# All at once: Snakemake takes an input function that fails for a file that nobody makes.
INPUTS = inputs_of_jobs(PLAN, RERUNS, ancient)
ESTIMATES = Estimates(PLAN, GPUS, batching.batch_size(SMALL_CELLS, RERUNS))
GROUPS = batching.groups_of(ON_CLUSTER, ESTIMATES.small)
CLI = commands.command_line()
shell.prefix(commands.shell_prefix(PLAN.experiment.runtime, SOURCE, CONTAINED))


def job_of(verb, key=None):
    """Gives the one parameter of a rule: the job's canonical JSON."""
    return lambda wildcards: PLAN.jobs[verb][key or wildcards.key].param


def inputs_of(verb, key=None):
    """Gives a job's inputs by name; the first to ask finds Snakemake's settings there."""
    return lambda wildcards: settle_run() or INPUTS[verb, key or wildcards.key]


def needs(stage, name):
    """Gives what a job of a stage asks a cluster for."""
    return lambda wildcards, attempt: getattr(
        getattr(ESTIMATES, stage)(wildcards.key, attempt), name
    )


def threads_for_features(wildcards):
    """Gives a job the cores that are free for it; on a GPU views go through the trunk batch after batch."""
    return 1 if GPUS else features_threads(RERUNS, cores_here())
