"""What a change runs again: every row of docs/reruns.md, on the real DAG, by the jobs of a dry run.

Each look asks ``snakemake -n`` and ``clce-bench plan`` and wants the same answer from both.
"""

import ast
import multiprocessing
import random
import shutil

import pytest
import yaml

from clce_bench.cli import command_status
from clce_bench.files import read_json, write_json
from clce_bench.planning.stages import STAGE_ORDER
from tests.helpers.killed_stages import run_and_kill
from tests.helpers.miniature import TAIL, both, clone_of, copy_of, dry_run, edit, keys_of, planned, rewrite


@pytest.fixture
def folder(finished, tmp_path):
    return copy_of(finished, tmp_path / "folder")


@pytest.fixture
def clone(tmp_path):
    return clone_of(tmp_path / "clone")


def permuted(value):
    if isinstance(value, dict):
        return {key: permuted(value[key]) for key in reversed(value)}
    return [permuted(item) for item in reversed(value)] if isinstance(value, list) else value


def test_touching_and_reformatting_every_file_and_permuting_every_list_runs_nothing(finished, tmp_path, clone):
    folder = copy_of(finished, tmp_path / "folder", shutil.copy, ignore=shutil.ignore_patterns("mlflow"))
    for path in [*(clone / "clce_bench").rglob("*.py"), folder / "broken_loss.py"]:
        # Comments go, lines break elsewhere, quotes change.
        tree = ast.parse(path.read_text())
        tree.body = tree.body[ast.get_docstring(tree) is not None :]
        path.write_text('"""Other words."""\n' + ast.unparse(tree))
    experiment = yaml.safe_load((folder / "miniature.yaml").read_text())
    (folder / "miniature.yaml").write_text(yaml.safe_dump(permuted(experiment), sort_keys=False))
    for path in sorted(folder.rglob("*"), reverse=True):
        path.touch()
    assert dry_run(folder, clone) == set()


def test_editing_a_loss_runs_its_cells_and_changing_it_back_runs_nothing(folder, clone):
    old = "return F.softplus("
    text = (clone / "clce_bench/losses/clce.py").read_text()
    if old not in text:
        old = "return "
    edit(clone, "losses/clce.py", old, "return 1.0 * " + old.removeprefix("return "))
    clce = keys_of(folder, loss={"name": "clce", "temperature": 0.5, "beta": 1.0})
    assert len(clce) == 4
    assert planned(folder, clone) == both(clce) | TAIL
    (clone / "clce_bench/losses/clce.py").write_text(text)
    assert planned(folder, clone) == set()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("figures/curves.py", TAIL - {("summarize", "miniature")}),
        ("report/page.py", {("report", "miniature"), ("track", "miniature")}),
    ],
    ids=["a figure", "the report"],
)
def test_editing_what_comes_after_trains_nothing(folder, clone, file, expected):
    path = clone / "clce_bench" / file
    path.write_text(path.read_text() + "\n\nUNUSED = 1\n")
    assert planned(folder, clone) == expected


def test_editing_the_shared_core_trains_what_is_computed_with_it_and_nothing_else_before(folder, clone):
    clce = keys_of(folder, loss={"name": "clce", "temperature": 0.5, "beta": 1.0})
    edit(clone, "losses/tiles.py", "NEG_INF = -1e9", "NEG_INF = -1e8")
    assert planned(folder, clone) == both(clce) | TAIL


def test_editing_a_stage_runs_all_that_depends_on_it(folder, clone):
    edit(clone, "data/episodes.py", "from pathlib import Path\n", "from pathlib import Path\n\nUNUSED = 1\n")
    (episodes,) = (path.name for path in (folder / "results/episodes").iterdir())
    # Evaluation reads episodes by a function of the same module.
    assert planned(folder, clone) == {("episodes", episodes)} | {("evaluate", key) for key in keys_of(folder)} | TAIL


def test_swapping_lambda_and_temperature_is_another_cell(folder):
    text = (folder / "miniature.yaml").read_text()
    experiment = yaml.safe_load(text)
    experiment["losses"]["clce"] = {"temperature": 0.9}
    experiment["grids"][0]["lambda"] = [0.5]
    (folder / "miniature.yaml").write_text(yaml.safe_dump(experiment))
    runs = planned(folder)
    trained = {key for rule, key in runs if rule == "train"}
    assert len(trained) == 2
    assert all("clce_bs64_lam0.5_s" in key for key in trained)
    assert runs == both(trained) | TAIL
    (folder / "miniature.yaml").write_text(text)
    assert planned(folder) == set()


def test_a_copy_without_times_and_metadata_is_accepted_and_what_does_not_match_is_not(finished, tmp_path):
    ignored = shutil.ignore_patterns(".snakemake", "mlflow", "code", "*.due")
    folder = copy_of(finished, tmp_path / "copy", shutil.copyfile, ignore=ignored)
    assert dry_run(folder) == set()
    tampered, other_code, damaged, *_ = sorted(keys_of(folder, dataset="digits"))
    cells = folder / "results" / "cells"
    record = read_json(cells / tampered / "cell.json")
    record["job"]["spec"]["recipe"]["epochs"] += 1
    write_json(cells / tampered / "cell.json", record)
    record = read_json(cells / other_code / "metrics.json")
    record["job"]["code"] = "0" * 16
    write_json(cells / other_code / "metrics.json", record)
    (cells / damaged / "cell.json").write_text("{")
    assert planned(folder) == both([tampered, damaged]) | {("evaluate", other_code)} | TAIL


def test_cells_alone_are_enough_and_one_more_seed_costs_one_seed(finished, tmp_path):
    folder = tmp_path / "cells"
    shutil.copytree(finished / "results" / "cells", folder / "results" / "cells", copy_function=shutil.copyfile)
    for name in ("miniature.yaml", "broken_loss.py"):
        shutil.copy(finished / name, folder)
    assert dry_run(folder) == TAIL
    experiment = yaml.safe_load((folder / "miniature.yaml").read_text())
    experiment["grids"][0] |= {"seed": [0, 1, 2], "lambda": [0.9, 1.0], "loss": ["ce"]}
    (folder / "miniature.yaml").write_text(yaml.safe_dump(experiment | {"figures": []}))
    runs = planned(folder)
    counts = {rule: sum(name == rule for name, _ in runs) for rule, _ in runs}
    before = {"dataset": 1, "splits": 1, "backbone": 1, "features": 1}
    assert counts == {**before, "train": 1, "evaluate": 1, "summarize": 1, "report": 1, "track": 1}


def test_a_damaged_intermediate_file_is_made_again_and_nothing_else(folder, monkeypatch, capsys):
    features = next((folder / "results/features").rglob("features.npy"))
    rewrite(features, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    parent = features.parent
    assert dry_run(folder) == {("features", str(parent.relative_to(folder / "results/features")))}
    cell = next(path for path in (folder / "results/cells").rglob("cell.json") if str(parent.name) in path.read_text())
    monkeypatch.chdir(folder)
    assert command_status(["train", "--job", str(cell), "--output", "again"]) == 2
    assert "features.npy: it is not what was written there" in capsys.readouterr().err


def test_damaged_embeddings_are_not_evaluated(folder, monkeypatch, capsys):
    (key, *_) = sorted(keys_of(folder, dataset="digits"))
    cell = folder / "results" / "cells" / key
    rewrite(cell / "embeddings.npz", lambda content: content + b"0")
    monkeypatch.chdir(folder)
    assert command_status(["evaluate", "--job", str(cell / "metrics.json"), "--output", "again.json"]) == 2
    assert "embeddings.npz: it is not what training wrote" in capsys.readouterr().err
    (cell / "embeddings.npz").unlink()
    assert planned(folder) == set()
    (cell / "metrics.json").unlink()
    assert planned(folder) == both([key]) | TAIL


def test_a_cell_without_the_outcomes_of_its_images_is_evaluated_again(folder):
    (key, *_) = sorted(keys_of(folder, dataset="digits"))
    (folder / "results/cells" / key / "metrics.npz").unlink()
    assert planned(folder) == {("evaluate", key)} | TAIL


def remove(folder, _clone, rng):
    files = sorted(path for path in (folder / "results").rglob("*") if path.is_file() and "mlflow" not in path.parts)
    rng.choice(files).unlink()


def spoil(folder, _clone, rng):
    records = sorted((folder / "results").rglob("*.json"))
    rewrite(rng.choice(records), lambda content: content.replace(b'"code": "', b'"code": "1', 1))


def add_code(_folder, clone, rng):
    path = rng.choice(sorted((clone / "clce_bench").rglob("*.py")))
    path.write_text(path.read_text() + "\n\nUNUSED = 1\n")


def drop_stage(folder, _clone, rng):
    shutil.rmtree(folder / "results" / rng.choice(["data", "features", "backbones", "splits", "episodes"]))


def add_cells(folder, _clone, rng):
    experiment = yaml.safe_load((folder / "miniature.yaml").read_text())
    rng.choice(experiment["grids"])["seed"].append(7)
    (folder / "miniature.yaml").unlink()
    (folder / "miniature.yaml").write_text(yaml.safe_dump(experiment))


@pytest.mark.parametrize("seed", range(3))
def test_plan_and_snakemake_agree_after_random_edits(folder, clone, seed):
    rng = random.Random(seed)
    for change in rng.sample([remove, remove, spoil, spoil, add_code, drop_stage, add_cells], 3):
        change(folder, clone, rng)
    dry_run(folder, clone)


def test_a_stage_that_is_killed_runs_again_and_alone(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "folder")
    experiment = yaml.safe_load((folder / "miniature.yaml").read_text())
    experiment["grids"].append({**experiment["grids"][1], "name": "measured", "loss": "ce", "measures": ["neighbours"]})
    (folder / "miniature.yaml").write_text(yaml.safe_dump(experiment))
    process = multiprocessing.get_context("fork").Process(target=run_and_kill, args=(folder, tmp_path / "stages.json"))
    process.start()
    process.join()
    assert process.exitcode == 0
    stages = read_json(tmp_path / "stages.json")
    assert [stage["node"][0] for stage in stages] == [
        verb for verb in STAGE_ORDER if verb not in ("tune", "labels", "corruptions")
    ]
    for stage in stages:
        assert stage["node"] in stage["before"]
        assert stage["killed"]
        assert stage["after"] == stage["before"]
        assert stage["again"] == 0
        assert stage["finally"] == [node for node in stage["before"] if node != stage["node"]]
    assert dry_run(folder) == set()
