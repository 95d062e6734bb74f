"""What jobs are told around their commands, as a shell understands it."""

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clce_bench.errors import UserError
from clce_bench.experiment.recipes import Runtime
from clce_bench.scheduling.commands import (
    command_line,
    ending_with_a_message,
    experiment_file,
    name_the_user,
    paths_in_commands,
    shell_prefix,
)

RUNTIME = Runtime(device="cpu", workers=3)


def said_by_shell(prefix, command, **environment):
    """Runs a command behind a prefix, as Snakemake does: the prefix is formatted first."""
    whole = ["bash", "-c", prefix.format() + command]
    return subprocess.run(whole, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_the_last_experiment_file_counts_and_without_one_the_default():
    assert experiment_file([]) == "config.yaml"
    assert experiment_file([Path("b c.yaml")]) == "b c.yaml"
    with pytest.raises(UserError, match="--configfile: a.yaml, b c.yaml: give one experiment file"):
        experiment_file(["a.yaml", Path("b c.yaml")])
    with pytest.raises(UserError, match="--config: name, seed is not allowed; write it into the experiment file"):
        experiment_file([], ["name", "seed"])


def test_jobs_find_the_program_beside_this_python_and_how_to_run():
    prefix = shell_prefix(RUNTIME, "/somewhere", contained=False)
    found = said_by_shell(prefix, "command -v clce-bench", PATH="/usr/bin:/bin")
    assert found == str(Path(sys.executable).with_name("clce-bench"))
    told = said_by_shell(prefix, 'printf "%s" "$CLCE_BENCH_RUNTIME"', PATH="/usr/bin:/bin")
    assert Runtime.model_validate(json.loads(told)) == RUNTIME


@pytest.mark.parametrize("folder", ["/plain", "/with space", "/with 'quotes' and {braces}"])
def test_in_a_container_jobs_run_the_python_there_on_the_code_here(folder, tmp_path):
    (tmp_path / "python").write_text('#!/bin/bash\nprintf "%s|" "$PYTHONPATH" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    prefix = shell_prefix(RUNTIME, folder, contained=True)
    found = said_by_shell(prefix, 'clce-bench train --job "a b"', PATH=f"{tmp_path}:/usr/bin:/bin")
    assert found == f"{folder}|-m|clce_bench.cli|train|--job|a b|"


def test_what_follows_a_run_uses_this_python():
    version = subprocess.run(f"{command_line()} --version", shell=True, capture_output=True, text=True, check=True)
    assert version.stdout.startswith("clce-bench, version ")


def test_all_paths_that_reach_a_shell_are_checked(tmp_path):
    found = paths_in_commands("mine.yaml", "/x/Snakefile")
    assert set(found.values()) == {"mine.yaml", str(tmp_path), "/x/Snakefile", sys.executable}


def test_bad_input_is_one_message_and_status_2(capsys):
    with pytest.raises(SystemExit) as ended, ending_with_a_message():
        raise UserError("config.yaml: no.")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: config.yaml: no.\n"


def test_a_user_whom_the_system_does_not_know_has_a_name(monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[f"uid not found: {uid}"])
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    name_the_user()
    assert getpass.getuser() == f"user-{os.getuid()}"
    monkeypatch.setenv("USER", "ada")
    name_the_user()
    assert getpass.getuser() == "ada"
