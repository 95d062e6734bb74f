"""Runs every stage of the miniature experiment in a folder, kills it at its end, and runs it again.

Says of each stage what was to run before, after the kill, and after the second time. All jobs are of one few-shot cell,
whose results are removed first.
"""

import json
import multiprocessing
import os
import signal
import sys
from functools import cache
from pathlib import Path

from clce_bench.cli import command_status
from clce_bench.data.sources import openmoji
from clce_bench.experiment.loading import load_experiment
from clce_bench.planning.plan import plan_of
from clce_bench.planning.reruns import reruns_of
from clce_bench.planning.stages import STAGE_ORDER
from clce_bench.records.fingerprints import fingerprint

EXPERIMENT = Path("miniature.yaml")


def chosen(jobs):
    return next((key for key in sorted(jobs) if key.startswith("openmoji") and "broken" not in key), min(jobs))


def arguments(job):
    output = Path(job.output)
    if job.verb in ("summarize", "report", "track"):
        target = output.parent if job.verb == "summarize" else output
        return [job.verb, "--experiment", str(EXPERIMENT), "--output", str(target)]
    target = output if job.verb in ("evaluate", "measure", "figures") else output.parent
    return [job.verb, "--job", job.param, "--output", str(target)]


def run(job, kill):
    replace = Path.replace

    def dying(source, target):
        # The file that vouches for all others is about to be put in its place.
        if kill and Path(target).name == Path(job.output).name:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(source, target)

    Path.replace = dying
    os._exit(command_status(arguments(job)))


def status_of(job, kill):
    process = multiprocessing.get_context("fork").Process(target=run, args=(job, kill))
    process.start()
    process.join()
    return process.exitcode


def run_and_kill(folder, answer):
    """Does so in this process, a copy of the tests' own, in which all that stages import is there."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.modules.pop("broken_loss", None)  # Another test's.
    fingerprint.cache_clear()
    plan = plan_of(load_experiment(EXPERIMENT))
    openmoji._render = cache(openmoji._render)
    openmoji.read_openmoji(16)  # Takes seconds, here once for both runs of its stage.

    def to_run():
        return sorted(reruns_of(plan).runs)

    for verb in ("train", "evaluate"):
        Path(plan.jobs[verb][chosen(plan.jobs[verb])].output).unlink()
    stages = []
    for verb in filter(plan.jobs.get, STAGE_ORDER):
        key = chosen(plan.jobs[verb])
        job = plan.jobs[verb][key]
        Path(job.output).unlink(missing_ok=True)  # As Snakemake does before it starts a job.
        found = {"node": [verb, key], "before": to_run(), "killed": status_of(job, True) == -signal.SIGKILL}
        found |= {"after": to_run(), "again": status_of(job, False), "finally": to_run()}
        stages.append(found)
    answer.write_text(json.dumps(stages))
