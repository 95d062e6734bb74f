# All that reads or changes Snakemake's own objects, which have no stable interface. Settings leave this file as plain values;
# what follows from them is worked out in clce_bench/scheduling, which never imports Snakemake.
import os
import sys
from functools import cache, partial

from snakemake.settings.types import DeploymentMethod

from clce_bench.execution import (
    finished_cells,
    interruption,
    jobs_at_work,
    run_lock,
    worker,
)
from clce_bench.execution.shell_paths import check_shell_names
from clce_bench.scheduling.commands import ending_with_a_message, paths_in_commands
from clce_bench.scheduling.resources import given_to_this_job

CONFIGFILES = workflow.overwrite_configfiles or []
OVERRIDES = list(workflow.config_settings.config) if workflow.is_main_process else []
# A job that Snakemake starts elsewhere reads the workflow again; what is to run was settled before, and is left alone.
SETTLED = not workflow.is_main_process
ON_CLUSTER = workflow.remote_exec
SOURCE = workflow.basedir
SMALL_CELLS = workflow.group_settings.group_components.get("small_cells", 1)
CONTAINED = bool(
    workflow.deployment_settings.deployment_method
    & {DeploymentMethod.CONDA, DeploymentMethod.APPTAINER}
)
# Where a profile says that training has no GPU, what it needs is worked out for cores.
GPU = workflow.resource_settings.overwrite_resources.get("train", {}).get("gpu")
GPUS = GPU and GPU.value

if not SETTLED:
    interruption.answer_briefly(at_once=True)
# One on a cluster imports torch once for all cells of its batch.
if ON_CLUSTER:
    worker.allow()
    finished_cells.keep_all()


@cache
def settle_run():
    """Changes what Snakemake has no option for, once its settings are there and before it locks the folder.

    A run on this machine needs no limit of jobs per second. Snakemake keeps to one by a timer for each turn of the
    scheduler, each of which turns it again: its own time then grows with the square of the number of jobs.

    A job of a cluster is told what the head node does not pass on: a batch goes on past a cell that fails, runs in one
    process, not in one per cell, and keeps to what it was given.
    """
    if ON_CLUSTER:
        workflow.execution_settings.keep_going = True
        workflow.group_settings.group_components = {GROUPS.cells: sys.maxsize}
        workflow.global_resources.update(given_to_this_job())
    elif not SETTLED and workflow.executor_plugin and not workflow.dryrun:
        with ending_with_a_message():
            if run_lock.hold_folder():
                print("A run here was killed: its lock is removed.", file=sys.stderr)
            if jobs_at_work.wait_for_jobs(partial(print, file=sys.stderr, flush=True)):
                # What they have left counts, and nothing that was read before is true any more.
                os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        if workflow.local_exec:
            workflow.scheduling_settings.max_jobs_per_timespan = None


def cores_here():
    """Gives the cores that jobs share on this machine, or nothing where others run them; known as in settle_run."""
    return workflow.resource_settings.cores if workflow.local_exec else None


def verbs_to_run_here():
    """Lists the stages that jobs of this run have on this machine; known once it starts."""
    return {job.rule.name for job in workflow.dag.needrun_jobs() if workflow.local_exec}


def check_names(experiment):
    """Refuses to submit anything to a cluster from a place whose name would run as a command there."""
    if not workflow.local_exec:
        with ending_with_a_message():
            check_shell_names(paths_in_commands(experiment, workflow.main_snakefile))
