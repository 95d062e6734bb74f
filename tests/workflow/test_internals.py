"""What the workflow changes in Snakemake has the effect that it is meant to have, also with another Snakemake."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from clce_bench.cli import command_status
from clce_bench.execution import interruption
from clce_bench.planning.plan import load_plan
from tests.helpers.interpreters import python
from tests.helpers.miniature import ROOT
from tests.helpers.working import working

EXPERIMENT = "name: x\ndatasets: {digits: {size: 8}}\ngrids: [{name: a, dataset: digits, loss: ce}]\nfigures: []\n"
# A Snakemake that says when it limits the rate of jobs.
TELLTALE = """
import sys
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobRateLimiter

def limited(*_):
    sys.exit("the rate of jobs is limited")

JobRateLimiter.__init__ = limited
main(sys.argv[1:])
"""
# One that is asked to end just when its scheduler holds the lock that its own answer takes.
TERMINATED = """
import os, signal, sys
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

finish_jobs = JobScheduler._finish_jobs

def terminated(scheduler):
    assert scheduler._lock.locked()
    os.kill(os.getpid(), signal.SIGTERM)
    JobScheduler._finish_jobs = finish_jobs

JobScheduler._finish_jobs = terminated
main(sys.argv[1:])
"""
# One that says among how many jobs it chooses.
CHOOSY = """
import sys
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

def choose(_, jobs):
    print("one of", len(jobs), flush=True)
    sys.exit()

JobScheduler.job_selector = choose
main(sys.argv[1:])
"""
MANY = """
rule all:
    input: expand("{number}", number=range(150))
rule one:
    output: "{number}"
    shell: "touch {output}"
"""
NOTHING_ELSE = "import sys\nfrom snakemake.cli import main\nmain(sys.argv[1:])"
PLAIN = 'rule all:\n    output: "made"\n    shell: "touch made"\n'


def run(snakefile, *arguments, program=TELLTALE):
    command = ["-c", program, "--snakefile", str(snakefile), "--cores", "1", *arguments]
    return python(*command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)


def test_snakemake_by_itself_limits_the_rate_of_jobs(tmp_path):
    (tmp_path / "Snakefile").write_text(PLAIN)
    done = run(tmp_path / "Snakefile")
    assert (done.returncode, "the rate of jobs is limited" in done.stderr) == (1, True), done.stderr


def test_a_run_on_this_machine_has_no_such_limit(tmp_path, monkeypatch):
    folder = tmp_path / "a folder with blanks" / "results"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "config.yaml").write_text(EXPERIMENT)
    done = run(ROOT / "Snakefile", "--until", "dataset")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(folder.glob("results/data/*/dataset.json"))) == 1


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        (["--cores", "6"], "3"),
        (["--cores", "6", "--set-resources", "train:gpu=1"], "1"),
        (["--executor", "slurm"], "1"),
    ],
    ids=["this machine", "a GPU", "a cluster"],
)
def test_two_data_sets_share_the_cores_for_their_features(arguments, threads):
    grids = [{"name": name, "dataset": name, "loss": "ce"} for name in ("digits", "openmoji")]
    experiment = {"name": "x", "backbone": {"freeze": "blocks"}, "grids": grids, "figures": []}
    Path("config.yaml").write_text(yaml.safe_dump(experiment))
    done = run(ROOT / "Snakefile", "-n", "-p", "--jobs", "6", *arguments, program=NOTHING_ELSE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.findall(r"clce-bench features .*--threads (\d+)", done.stdout + done.stderr) == [threads, threads]


def test_jobs_are_chosen_among_few_however_many_could_start(tmp_path):
    (tmp_path / "Snakefile").write_text(MANY)
    profiles = ROOT / "profiles"
    assert "one of 150\n" in run(tmp_path / "Snakefile", program=CHOOSY).stdout
    assert "one of 100\n" in run(tmp_path / "Snakefile", "--profile", str(profiles / "default"), program=CHOOSY).stdout
    settings = [yaml.safe_load(path.read_text()) for path in profiles.glob("*/profile.yaml")]
    assert {own["scheduler-subsample"] for own in settings} == {100}


def test_a_run_that_is_terminated_ends_whatever_it_is_doing():
    Path("config.yaml").write_text(EXPERIMENT)
    done = run(ROOT / "Snakefile", "--until", "dataset", program=TERMINATED)
    assert done.returncode == 1, done.stderr
    assert interruption.TERMINATED in done.stderr
    assert not Path("results/experiments/x/partial").exists()


def test_a_job_that_a_killed_run_left_is_waited_for_and_what_it_made_counts():
    Path("config.yaml").write_text(EXPERIMENT)
    (job,) = load_plan(Path("config.yaml")).jobs["dataset"].values()
    made = Path(job.output)
    assert command_status(["dataset", "--job", job.param, "--output", str(made.parent)]) == 0
    record = made.with_name("dataset.job.json")
    record.rename("set aside")
    Path(".snakemake").mkdir()
    with working("dataset", made) as left:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--until", "dataset"]
        environment, pipe = {**os.environ, "PYTHONPATH": str(ROOT)}, subprocess.PIPE
        again = subprocess.Popen([*command, "--cores", "1"], stdout=pipe, stderr=pipe, text=True, env=environment)
        lines = iter(again.stderr.readline, "")
        said = next(line for line in lines if "still works on it" in line)
        assert f"dataset {made}: process {left.pid} on " in said
        Path("set aside").rename(record)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert "rule dataset" not in out + err
