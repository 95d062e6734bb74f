"""What the workflow changes in Snakemake has the effect that it is meant to have, also with another Snakemake."""

import os
import subprocess
import sys

import pytest

from tests.helpers.miniature import ROOT

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
PLAIN = 'rule all:\n    output: "made"\n    shell: "touch made"\n'


def run(snakefile, *arguments):
    command = [sys.executable, "-c", TELLTALE, "--snakefile", str(snakefile), "--cores", "1", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_snakemake_by_itself_limits_the_rate_of_jobs(tmp_path):
    (tmp_path / "Snakefile").write_text(PLAIN)
    done = run(tmp_path / "Snakefile")
    assert (done.returncode, "the rate of jobs is limited" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("where", ["results", "a folder with blanks"])
def test_a_run_on_this_machine_has_no_such_limit(tmp_path, monkeypatch, where):
    (tmp_path / where).mkdir()
    monkeypatch.chdir(tmp_path / where)
    (tmp_path / where / "config.yaml").write_text(EXPERIMENT)
    done = run(ROOT / "Snakefile", "--until", "dataset")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((tmp_path / where).glob("results/data/*/dataset.json"))) == 1
