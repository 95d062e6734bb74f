"""``status``, ``why`` and ``accept``: what they say of cells, in words and as JSON."""

import json
import os
import shutil

import pytest
import yaml

from clce_bench.files import read_json, write_json
from tests.helpers.interpreters import python
from tests.helpers.miniature import ROOT, TAIL, both, clone_of, copy_of, dry_run, edit, keys_of, planned, rewrite

OLD, NEW = "hard = weighted - weights", "hard = 1.0 * weighted - weights"


def run(folder, clone, *arguments):
    command = ["-m", "clce_bench.cli", *arguments, "--experiment", "miniature.yaml"]
    return python(*command, cwd=folder, env={**os.environ, "PYTHONPATH": str(clone)})


def states(folder, clone=ROOT):
    printed = run(folder, clone, "status", "--json")
    assert printed.returncode == 0, printed.stderr
    return {row["cell"]: row for row in json.loads(printed.stdout)}


@pytest.fixture
def folder(finished, tmp_path):
    return copy_of(finished, tmp_path / "folder")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in which CLCE was edited."""
    target = clone_of(tmp_path_factory.mktemp("edited") / "clone")
    edit(target, "losses/clce.py", OLD, NEW)
    return target


def test_status_says_what_each_cell_is_and_why(folder):
    found = states(folder)
    assert sorted(row["status"] for row in found.values()) == ["diverged"] + ["done"] * 7
    (diverged,) = (row for row in found.values() if row["status"] == "diverged")
    assert diverged["reason"] == "the loss was nan in epoch 1, step 1"
    assert all(row["note"] == "" and row["seconds"] > 0 for row in found.values())
    first, second, third, *_ = sorted(keys_of(folder, dataset="digits", loss={"name": "ce"}) | keys_of(folder, seed=1))
    cells = folder / "results" / "cells"
    record = read_json(cells / first / "cell.json")
    record["environment"]["packages"]["torch"] = "1.0"
    write_json(cells / first / "cell.json", record)
    (cells / second / "metrics.json").unlink()
    (cells / third / "cell.json").unlink()
    (cells / third / "failure.txt").write_text("ValueError: no")
    found = states(folder)
    assert found[first.split("/")[-1]]["status"] == "done"
    assert found[first.split("/")[-1]]["note"].startswith("torch 1.0 then, ")
    assert found[second.split("/")[-1]]["reason"] == "trained, not evaluated yet"
    assert (found[third.split("/")[-1]]["status"], found[third.split("/")[-1]]["reason"]) == (
        "failed",
        "ValueError: no",
    )


def test_status_names_the_setting_that_changed(folder):
    experiment = yaml.safe_load((folder / "miniature.yaml").read_text())
    experiment["recipe"] = {"epochs": 3}
    rewrite(folder / "miniature.yaml", lambda _: yaml.safe_dump(experiment).encode())
    reasons = {row["reason"] for row in states(folder).values() if row["cell"].startswith("clce")}
    assert len(reasons) == 4
    assert all(reason.startswith("never run; like clce_bs64_lam") for reason in reasons)
    assert all(reason.endswith(" but recipe.epochs 1 → 3") for reason in reasons)


def test_status_and_why_name_file_and_function(folder, clone):
    found = states(folder, clone)
    stale = [row for row in found.values() if row["status"] == "stale"]
    started = read_json(next((folder / "results/cells").rglob("clce*/cell.json")))["started"][:10]
    assert len(stale) == 4
    assert all(row["reason"].startswith(f"losses/clce.py changed since {started}") for row in stale)
    assert all(row["reason"].endswith(": CLCE.per_anchor") for row in stale)
    why = run(folder, clone, "why", stale[0]["cell"], "--json")
    (change,) = json.loads(why.stdout)["changes"]
    assert (change["stage"], change["kind"]) == ("train", "code")
    assert change["modules"] == {"clce_bench.losses.clce": ["CLCE.per_anchor"]}
    text = run(folder, clone, "why", f"results/cells/digits/test_efficientnet/{stale[0]['cell']}").stdout
    assert "clce_bench.losses.clce: CLCE.per_anchor" in text
    assert f"will run: train digits/test_efficientnet/{stale[0]['cell']}" in text
    shutil.rmtree(folder / "results" / "code")
    alone = {row["reason"] for row in states(folder, clone).values() if row["status"] == "stale"}
    assert all(reason.startswith("losses/clce.py changed since") and "per_anchor" not in reason for reason in alone)


def test_cells_are_found_by_name_start_or_path(folder):
    several = run(folder, ROOT, "why", "clce_bs64")
    assert several.returncode == 2
    assert "clce_bs64: 4 cells begin so: " in several.stderr
    wrong = run(folder, ROOT, "why", "clce_bs64_lam0.9_s0-03315")
    near = run(folder, ROOT, "why", "clse_bs64_lam0.9_s0")
    assert wrong.returncode in (0, 2)
    assert near.returncode == 2
    assert "is not a cell of this experiment. Did you mean 'clce_bs64_lam0.9_s0-" in near.stderr


def test_what_is_accepted_is_done_until_the_code_changes_again(folder, clone):
    clce = keys_of(folder, loss={"name": "clce", "temperature": 0.5, "beta": 1.0})
    first = sorted(clce)[0]
    refused = run(folder, ROOT, "accept", first, "--reason", "nothing")
    assert refused.returncode == 2
    assert "there is nothing to accept" in refused.stderr
    assert run(folder, clone, "accept", first, "--reason", " ").returncode == 2
    accepted = run(folder, clone, "accept", first, "--reason", "only multiplies by one")
    assert accepted.returncode == 0, accepted.stderr
    (entry,) = read_json(folder / "results/cells" / first / "cell.json")["accepted"]
    assert entry["reason"] == "only multiplies by one"
    assert entry["who"]
    assert entry["when"]
    assert set(entry["codes"]) == {"train"}
    row = states(folder, clone)[first.split("/")[-1]]
    assert (row["status"], row["accepted"]) == ("done", "only multiplies by one")
    assert dry_run(folder, clone) == both(clce - {first}) | TAIL
    assert run(folder, clone, "accept", "--all-stale", "--reason", "the same").returncode == 0
    assert planned(folder, clone) == TAIL
    assert states(folder)[first.split("/")[-1]]["status"] == "done"  # The old code itself still counts.
    edit(clone, "losses/clce.py", NEW, OLD.replace("weighted", "2.0 * weighted"))
    assert states(folder, clone)[first.split("/")[-1]]["status"] == "stale"
    edit(clone, "losses/clce.py", OLD.replace("weighted", "2.0 * weighted"), NEW)


def test_a_changed_stage_can_be_accepted_and_anything_else_cannot(folder, tmp_path):
    clone = clone_of(tmp_path / "clone")
    for file in ("models/features.py", "evaluation/probe.py"):
        path = clone / "clce_bench" / file
        path.write_text(path.read_text() + "\n\nUNUSED = 1\n")
    assert {row["status"] for row in states(folder, clone).values()} == {"stale"}
    ce = sorted(keys_of(folder, dataset="digits", loss={"name": "ce"}))[0]
    record = read_json(folder / "results/cells" / ce / "cell.json")
    record["job"]["spec"]["recipe"]["epochs"] = 9
    write_json(folder / "results/cells" / ce / "cell.json", record)
    refused = run(folder, clone, "accept", ce, "--reason", "no")
    assert refused.returncode == 2
    assert "not only code differs: train: spec recipe.epochs" in refused.stderr
    done = run(folder, clone, "accept", "--all-stale", "--reason", "an unused constant")
    assert done.returncode == 0, done.stderr
    found = states(folder, clone)
    assert {row["cell"] for row in found.values() if row["status"] == "stale"} == {ce.split("/")[-1]}


def test_headline_can_tell_whether_a_run_has_anything_to_do(folder):
    asked = ("headline", "--if-up-to-date")
    done = run(folder, ROOT, *asked)
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stderr
    assert "report.html" in done.stdout
    next((folder / "results/cells").rglob("metrics.json")).unlink()
    done = run(folder, ROOT, *asked)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
