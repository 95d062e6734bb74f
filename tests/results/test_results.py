"""Results are checked, tidied and taken from one machine to another."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from clce_bench.analysis.summary import summary_table
from clce_bench.cli import command_status
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.splits import make_splits
from clce_bench.errors import UserError
from clce_bench.execution.run_lock import hold_folder
from clce_bench.experiment.loading import parse_experiment
from clce_bench.files import canonical_json, read_json, sha256_of, write_json
from clce_bench.planning.plan import plan_of
from clce_bench.planning.reruns import reruns_of
from clce_bench.records.job_records import code_file, content_of, recorded
from clce_bench.results.archive_export import export_cells
from clce_bench.results.archive_import import import_cells
from clce_bench.results.pruning import leftovers, remove
from clce_bench.results.stored_records import all_records
from clce_bench.results.verification import verify
from tests.helpers.made_up import make_up
from tests.helpers.miniature import jobs_of, snakemake

GRID = {"name": "main", "dataset": "tiny", "loss": ["ce", "clce"], "seed": [0, 1]}
CHANGES = {"grids": [GRID], "figures": [], "datasets": {"tiny": {"size": 8}}, "backbone": {"freeze": "none"}}


def finished(**changes):
    """Makes up cells whose records vouch for their files, on data that is there; returns their plan."""
    _, plan = make_up(**CHANGES | changes)
    for verb, make in MAKERS.items():
        for job in plan.jobs[verb].values():
            output = Path(job.output)
            if not output.exists():
                output.parent.mkdir(parents=True)
                with recorded(verb, job.definition, output):
                    make(job.spec, output.parent)
    for cell in plan.cells:
        vouch(cell.directory)
    return plan


def split(spec, folder):
    (items,) = Path("results/data").rglob("items.parquet")
    make_splits(spec, items, folder)


def weights(spec, folder):
    (folder / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "backbone.json", spec)


def features(spec, folder):
    """Other bits on every machine, as with another processor."""
    for name in ("features.npy", "index.npy"):
        (folder / name).write_bytes(os.urandom(8))
    write_json(folder / "features.json", {**spec, "sha256": {"features.npy": sha256_of(folder / "features.npy")}})


MAKERS = {"dataset": prepare_dataset, "splits": split, "backbone": weights, "features": features}


def vouch(folder):
    """Writes the checksums of what is in a cell's folder, and of what it was made from, into its records."""
    record, metrics = read_json(folder / "cell.json"), read_json(folder / "metrics.json")
    np.savez(folder / "metrics.npz", **{"outcome.top1": np.full(4, metrics["metrics"]["top1"])})
    files = ("history.csv", "model.safetensors", "embeddings.npz")
    record["outputs_sha256"] = {name: sha256_of(folder / name) for name in files}
    write_json(folder / "cell.json", record)
    metrics |= {"cell_sha256": record["outputs_sha256"]}
    metrics |= {"outputs_sha256": {"metrics.npz": sha256_of(folder / "metrics.npz")}}
    for one, name in ((record, "cell.json"), (metrics, "metrics.json")):
        inputs = {key: Path(path) for key, path in one["job"]["inputs"].items()}
        one["inputs_sha256"] = {key: content_of(path) for key, path in inputs.items() if path.exists()}
        write_json(folder / name, one)


def change_metric(cell, value):
    """Makes a cell's result another one, with records that fit."""
    metrics = read_json(cell.directory / "metrics.json")
    write_json(cell.directory / "metrics.json", metrics | {"metrics": metrics["metrics"] | {"top1": value}})
    vouch(cell.directory)


def problems():
    return {(Path(finding.path).name, finding.problem) for finding in verify(all_records())}


def flip(path):
    """Changes one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tree(folder):
    """The content and the time of everything in a folder."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), round(path.stat().st_mtime, 4)) for path in files}


@pytest.fixture
def two_machines(tmp_path, monkeypatch):
    """Goes to one of two folders that share nothing: ``at("one")``."""

    def at(name):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)

    at("one")
    return at


# What is damaged


def test_whole_results_have_no_findings():
    finished()
    assert verify(all_records()) == []
    assert len(list(all_records())) == 4 * 2 + 3


@pytest.mark.parametrize(
    "name", ["images.npy", "items.parquet", "splits.parquet", "model.safetensors", "history.csv", "metrics.npz"]
)
def test_one_bit_of_any_file_is_found(name):
    finished()
    flip(next(path for path in sorted(Path("results").rglob(name))))
    assert problems() == {(name, "damaged")}


def test_what_is_missing_unreadable_or_unexpected_is_told_apart(capsys):
    plan = finished()
    lost, torn, strange, edited = (cell.directory for cell in plan.cells)
    (lost / "embeddings.npz").unlink()
    (torn / "cell.json").write_text((torn / "cell.json").read_text()[:100])
    (strange / "notes.txt").write_text("mine")
    write_json(edited / "metrics.json", read_json(edited / "metrics.json") | {"metrics": {"top1": 0.99}})
    expected = {("embeddings.npz", "missing"), ("cell.json", "unreadable"), ("notes.txt", "unexpected")}
    assert problems() == expected | {("metrics.json", "damaged")}
    assert command_status(["verify"]) == 1
    printed = capsys.readouterr().out
    assert "Remove the folder, then import the cell from an archive or run snakemake" in printed
    assert "top1 is 0.99, but 0.8" in printed
    assert "11 records checked, 3 damaged files" in printed


@pytest.mark.parametrize("name", ["top1", "isoscore"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_is_no_finite_number_is_damage(name, value):
    path = finished().cells[0].directory / "metrics.json"
    path.write_text(json.dumps(read_json(path) | {"metrics": {name: value}}))
    assert problems() == {("metrics.json", "damaged")}


def test_a_changed_spec_and_other_inputs_are_found():
    plan = finished()
    record = read_json(plan.cells[0].directory / "cell.json")
    record["job"]["spec"]["seed"] = 7
    write_json(plan.cells[0].directory / "cell.json", record)
    splits = next(Path("results/splits").rglob("splits.json"))
    write_json(splits, read_json(splits) | {"near_copies_of_test": 3})
    ((_, job),) = plan.jobs["splits"].items()
    with recorded("splits", job.definition, splits):
        pass
    assert problems() == {("cell.json", "damaged"), ("splits.json", "other inputs")}
    (finding,) = (finding for finding in verify(all_records()) if finding.problem == "other inputs")
    assert "8 results were made from another version of it" in finding.detail


def test_files_that_nothing_needs_are_no_damage(capsys):
    plan = finished()
    (plan.cells[0].directory / "notes.txt").write_text("mine")
    assert command_status(["verify", "--json", "--experiment", f"{plan.folder}/experiment.json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(finding["problem"], finding["damage"]) for finding in found["findings"]] == [("unexpected", False)]


# What nobody asks for


@pytest.fixture
def tidy():
    """Two experiments with their files; results of both, nothing else."""
    Path("experiments").mkdir()
    plan = finished()
    other = finished(name="other", grids=[GRID | {"loss": "tcl", "name": "others"}])
    for path, experiment in (("config.yaml", plan.experiment), ("experiments/other.yaml", other.experiment)):
        Path(path).write_text(canonical_json(experiment.model_dump(by_alias=True)))
    return plan, other


def unasked():
    return {str(leftover.path) for leftover in leftovers([Path("config.yaml"), *Path("experiments").iterdir()])}


def test_what_experiments_ask_for_is_kept(tidy):
    assert unasked() == set()


def test_an_experiment_less_leaves_its_cells_and_no_others(tidy, capsys):
    _, other = tidy
    Path("experiments/other.yaml").unlink()
    before = tree("results")
    expected = {str(cell.directory) for cell in other.cells} | {str(other.folder)}
    expected |= {str(code_file("train", job.code)) for job in other.jobs["train"].values()}
    assert unasked() == expected
    assert command_status(["prune", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["path"] for row in rows} == expected
    assert all(row["why"] and not row["removed"] for row in rows)
    assert tree("results") == before
    assert command_status(["prune", "--delete"]) == 0
    assert f"{len(expected)} removed" in capsys.readouterr().out
    after = tree("results")
    assert after.items() <= before.items()
    removed = {name for name in before if name not in after}
    assert removed == {name for name in before if any(f"results/{name}".startswith(path) for path in expected)}
    assert unasked() == set()


def test_leftovers_of_killed_and_finished_runs_are_found(tidy):
    plan, _ = tidy
    finished_cell, unfinished = plan.cells[0].directory, plan.cells[1].directory
    for cell in (finished_cell, unfinished):
        (cell / "checkpoints").mkdir()
        (cell / "checkpoints" / "step-000000001.pt").write_bytes(b"x" * 10)
    (unfinished / "cell.json").unlink()
    (finished_cell.parent / f".{finished_cell.name}.abc").mkdir()
    Path("results/mine.txt").write_text("not the benchmark's")
    Path("results/logs/train/digits").mkdir(parents=True)
    Path("results/logs/train/digits/old.log").write_text("old")
    links = finished_cell / "finished"  # As a batch on a cluster leaves them where it failed.
    links.mkdir()
    (links / "cell.json").hardlink_to(finished_cell / "cell.json")
    checkpoints, killed = finished_cell / "checkpoints", finished_cell.parent / f".{finished_cell.name}.abc"
    assert unasked() == {str(checkpoints), str(killed), str(links), "results/logs/train/digits"}
    assert links / "cell.json" not in all_records()
    (leftover,) = (one for one in leftovers([Path("config.yaml"), Path("experiments/other.yaml")]) if one.bytes == 10)
    assert leftover.path == checkpoints


def test_nothing_is_removed_when_an_experiment_cannot_be_read_or_snakemake_runs(tidy, capsys):
    Path("results/cells/tiny/resnet/ce-old").mkdir(parents=True)
    before = tree("results")
    Path("experiments/other.yaml").write_text("name: other\ngrids: [{name: a, dataset: tiny, loss: schanne}]\n")
    assert command_status(["prune", "--delete"]) == 2
    assert "'schanne' is not a loss" in capsys.readouterr().err
    Path("experiments/other.yaml").unlink()
    hold_folder()
    assert command_status(["prune", "--delete"]) == 2
    assert f"Snakemake, process {os.getpid()}" in capsys.readouterr().err
    assert tree("results") == before


def test_links_are_removed_not_followed(tidy, tmp_path):
    outside = tmp_path / "outside"
    (outside / "cell").mkdir(parents=True)
    (outside / "cell" / "precious").write_text("x")
    Path("results/cells/tiny/link").symlink_to(outside)
    Path("results/features").symlink_to(outside)
    found = leftovers([Path("config.yaml"), Path("experiments/other.yaml")])
    assert {str(one.path) for one in found} == {"results/cells/tiny/link"}
    remove(found)
    assert not Path("results/cells/tiny/link").is_symlink()
    assert (outside / "cell" / "precious").exists()


# From one machine to another


@pytest.mark.parametrize("weights", [True, False])
def test_cells_arrive_as_they_were_with_their_times(two_machines, capsys, weights):
    plan = finished()
    for cell in plan.cells:
        os.utime(cell.directory / "cell.json", (1e9 + 0.25, 1e9 + 0.25))
    assert export_cells(plan, Path("../cells.tar.gz"), weights).cells == 4
    before = tree("results/cells")
    two_machines("two")
    merged = import_cells(Path("../cells.tar.gz"), None)
    assert len(merged.added) == 4
    expected = before if weights else {name: file for name, file in before.items() if "safetensors" not in name}
    assert tree("results/cells") == expected
    assert command_status(["verify"]) == 0
    assert ("left out" in capsys.readouterr().out) is not weights
    # What was left out is missed once nothing says that it was.
    shutil.rmtree("results/imports")
    assert command_status(["verify"]) == (0 if weights else 1)


def test_importing_twice_or_what_is_here_changes_nothing(two_machines):
    plan = finished()
    export_cells(plan, Path("cells.tar.gz"), weights=True)
    before = tree("results/cells")
    for _ in range(2):
        merged = import_cells(Path("cells.tar.gz"), None)
        assert (len(merged.same), merged.added, merged.replaced) == (4, [], [])
    assert tree("results/cells") == before


def test_weights_can_come_later(two_machines):
    plan = finished()
    export_cells(plan, Path("../small.tar.gz"), weights=False)
    export_cells(plan, Path("../all.tar.gz"), weights=True)
    two_machines("two")
    import_cells(Path("../small.tar.gz"), None)
    assert len(import_cells(Path("../all.tar.gz"), None).completed) == 4
    assert (plan.cells[0].directory / "model.safetensors").exists()
    assert verify(all_records()) == []


def test_other_results_are_named_and_kept_unless_asked_otherwise(two_machines):
    plan = finished()
    export_cells(plan, Path("../cells.tar.gz"), weights=True)
    theirs = tree("results/cells")
    two_machines("two")
    plan = finished()
    changed, *_, absent = plan.cells
    shutil.rmtree(absent.directory)
    change_metric(changed, 0.123)
    before = tree("results")
    with pytest.raises(UserError, match=rf"(?s)1 cells are here with other results.*{changed.name}: top1 0.8\d+ there"):
        import_cells(Path("../cells.tar.gz"), None)
    assert tree("results") == before
    merged = import_cells(Path("../cells.tar.gz"), "here")
    assert (merged.added, merged.kept) == ([str(absent.directory)], [str(changed.directory)])
    assert read_json(changed.directory / "metrics.json")["metrics"]["top1"] == 0.123
    assert import_cells(Path("../cells.tar.gz"), "archive").replaced == [str(changed.directory)]
    name = str((changed.directory / "metrics.json").relative_to("results/cells"))
    assert tree("results/cells")[name] == theirs[name]


MEASURED = {"grids": [GRID | {"measures": "neighbours"}]}
MEASURE = {"metrics": {"map_at_r": 0.5}, "absent": {}, "started": "2026-01-01T00:00:05+00:00", "seconds": 1.0}


def measured():
    """Makes up cells with a measure each."""
    plan = finished(**MEASURED)
    for job in plan.jobs["measure"].values():
        output = Path(job.output)
        with recorded("measure", job.definition, output, [f"{output.stem}.*"]):
            np.savez(output.with_suffix(".npz"), **{"outcome.map_at_r": [0.25, 0.75], "unit.map_at_r": [0, 1]})
            write_json(output, MEASURE)
    return plan


def test_measures_travel_with_their_cells(two_machines):
    plan = measured()
    export_cells(plan, Path("../cells.tar.gz"), weights=True)
    before = tree("results/cells")
    assert len(before) == len(plan.cells) * 9
    two_machines("two")
    import_cells(Path("../cells.tar.gz"), None)
    assert tree("results/cells") == before
    assert (summary_table(plan)["metric.map_at_r"] == 0.5).all()
    assert {node.verb for node in reruns_of(plan_of(plan.experiment)).runs} == {"summarize", "report", "track"}
    for path in plan.cells[1].directory.glob("measure-*"):
        path.unlink()
    assert import_cells(Path("../cells.tar.gz"), None).completed == [str(plan.cells[1].directory)]
    assert tree("results/cells").keys() == before.keys()  # Planning has noted in the records when it looked.


def test_a_measure_is_compared_with_what_lies_behind_it():
    path = measured().cells[0].directory / "measure-neighbours.json"
    assert problems() == set()
    write_json(path, MEASURE | {"metrics": {"map_at_r": 0.6}})
    record = path.with_suffix(".job.json")
    outputs = read_json(record)["outputs_sha256"] | {path.name: sha256_of(path)}
    write_json(record, read_json(record) | {"outputs_sha256": outputs})
    assert problems() == {(path.name, "damaged")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("inputs_sha256", "has records of measures that do not fit its training or their files"),
        ("outputs_sha256", "has records of measures that do not fit its training or their files"),
        ("metrics", "has a record that is not one: metrics.map_at_r: Input should be a finite number"),
    ],
)
def test_measures_of_something_else_are_refused(two_machines, change, message):
    export_cells(measured(), Path("../cells.tar.gz"), weights=False)
    kind = "" if change == "metrics" else ".job"
    values = {change: {"map_at_r": float("nan")} if change == "metrics" else {"cell": "0" * 64}}
    repack(Path("../cells.tar.gz"), of_record(f"measure-neighbours{kind}.json", **values))
    two_machines("two")
    with pytest.raises(UserError, match=message):
        import_cells(Path("../cells.tar.gz"), None)


def test_a_torn_record_gives_way_when_asked(two_machines):
    plan = finished()
    export_cells(plan, Path("cells.tar.gz"), weights=True)
    before = tree("results/cells")
    (plan.cells[0].directory / "cell.json").write_text("{")
    with pytest.raises(UserError, match="its record here cannot be read"):
        import_cells(Path("cells.tar.gz"), None)
    import_cells(Path("cells.tar.gz"), "archive")
    assert tree("results/cells") == before


def test_nothing_is_imported_while_snakemake_runs(two_machines):
    export_cells(finished(), Path("../cells.tar.gz"), weights=True)
    two_machines("two")
    hold_folder()
    with pytest.raises(UserError, match=f"Snakemake, process {os.getpid()}"):
        import_cells(Path("../cells.tar.gz"), None)
    assert not Path("results").exists()


def test_cells_of_other_data_are_refused(two_machines):
    export_cells(finished(), Path("../cells.tar.gz"), weights=False)
    two_machines("two")
    finished(grids=[GRID | {"seed": 5}])
    splits = next(Path("results/splits").rglob("splits.json"))
    write_json(splits, read_json(splits) | {"sha256": {"splits.parquet": "0" * 64}})
    before = tree("results")
    with pytest.raises(UserError, match=r"(?s)made from other data than that here:\n  results/splits/.*sha256 differ"):
        import_cells(Path("../cells.tar.gz"), None)
    assert tree("results") == before


def test_what_is_damaged_or_unfinished_is_not_exported(capsys):
    plan = finished()
    (plan.cells[0].directory / "cell.json").unlink()
    settings = f"{plan.folder}/experiment.json"
    assert command_status(["export", "cells.tar.gz", "--experiment", settings]) == 0
    assert "3 cells, " in (printed := capsys.readouterr().out)
    assert "Not in it 1 missing" in printed
    assert command_status(["export", "cells.tar.gz", "--experiment", settings]) == 2
    assert "exists already" in capsys.readouterr().err
    flip(plan.cells[1].directory / "embeddings.npz")
    assert command_status(["export", "again.tar.gz", "--experiment", settings]) == 2
    assert "is not as its record says" in capsys.readouterr().err
    assert not Path("again.tar.gz").exists()
    assert command_status(["export", "cells.zip", "--experiment", settings]) == 2


def repack(archive, change):
    """Writes the archive again with other members: ``change`` gets and returns (info, content) pairs."""
    with tarfile.open(archive) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar.getmembers()]
    with tarfile.open(archive, "w:gz") as tar:
        for info, content in change(members):
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def with_manifest(members, change):
    """Changes the manifest in a list of members."""
    (first, text), *rest = members
    manifest = json.loads(text)
    change(manifest, rest)
    return [(first, json.dumps(manifest).encode()), *rest]


def listed(name, content=b"x"):
    """Adds a member that the manifest lists."""

    def change(manifest, rest):
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        rest.append((tarfile.TarInfo(name), content))

    return lambda members: with_manifest(members, change)


def unlisted(name, kind=tarfile.REGTYPE, target=""):
    def change(members):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        return [*members, (info, b"")]

    return change


def other_content(members):
    return [(info, content[:-1] + b"?" if info.name.endswith("history.csv") else content) for info, content in members]


def rewritten(ending, change):
    """Changes the first file with this ending, and the checksums that name it, so that only its content is wrong."""

    def changed(members):
        found = next(info for info, _ in members if info.name.endswith(f"/{ending}"))
        contents = {info.name: content for info, content in members}
        before = contents[found.name]
        after = contents[found.name] = change(before)
        manifest = json.loads(contents["manifest.json"])
        folder = found.name.rpartition("/")[0]
        for name in (found.name, f"{folder}/cell.json", f"{folder}/metrics.json"):
            if name in contents and name != found.name:
                old, new = (hashlib.sha256(content).hexdigest().encode() for content in (before, after))
                contents[name] = contents[name].replace(old, new)
            if name in contents:
                manifest["files"][name]["sha256"] = hashlib.sha256(contents[name]).hexdigest()
        contents["manifest.json"] = json.dumps(manifest).encode()
        return [(info, contents[info.name]) for info, _ in members]

    return changed


def of_record(name, **values):
    return rewritten(name, lambda text: json.dumps({**json.loads(text), **values}).encode())


def npz(array):
    content = io.BytesIO()
    np.savez(content, array=array)
    return content.getvalue()


def bomb(members):
    return [*members, (tarfile.TarInfo("results/cells/zeros"), bytes(30_000_000))]


CELL = "results/cells/a/b/c"
HOSTILE = {
    "outside": (unlisted("../evil"), "lies outside the folder"),
    "absolute": (unlisted("/tmp/evil"), "lies outside the folder"),
    "link out": (unlisted("results/cells/x", tarfile.SYMTYPE, "../../../evil"), "links out of the folder"),
    "device": (unlisted("results/cells/x", tarfile.CHRTYPE), "neither a file nor a folder"),
    "unlisted": (unlisted(f"{CELL}/history.csv"), "is not listed in manifest.json"),
    "code": (listed("my_loss.py"), "is not a file that results have"),
    "profile": (listed("results/../profiles/default/profile.yaml"), "lies outside the folder"),
    "hidden": (listed("results/cells/a/b/.c/cell.json"), "is not a file that results have"),
    "other name": (listed(f"{CELL}/evil.so"), "is not a file that results have"),
    "other place": (listed("results/cells/cell.json"), "is not a file that results have"),
    "not a record": (listed(f"{CELL}/cell.json", b"{}"), "has a record that is not one: job: Field required"),
    "content": (other_content, "is missing or damaged"),
    "bomb": (bomb, "makes it unpack to more than"),
    "no manifest": (lambda members: members[1:], "has no manifest.json"),
    "odd name": (
        lambda members: with_manifest(members, lambda manifest, _: manifest.update(experiment="../../x")),
        "manifest.json: experiment: String should match pattern",
    ),
    "written at no time": (
        lambda members: with_manifest(members, lambda manifest, _: manifest.update(written="today")),
        "manifest.json: written: .*Invalid isoformat",
    ),
    "garbage as experiment": (rewritten("experiment.json", lambda _: b"garbage"), "is not what it should be"),
    "a list as experiment": (rewritten("experiment.json", lambda _: b"[]"), "is not what it should be: no mapping"),
    "another experiment": (
        rewritten("experiment.json", lambda text: text.replace(b'"made-up"', b'"another"')),
        "not the experiment 'made-up'",
    ),
    "a data set that is a list": (
        rewritten("dataset.json", lambda _: b"[1]"),
        "dataset.json' is not what it should be",
    ),
    "history of other columns": (rewritten("history.csv", lambda _: b"a,b\n1,2\n"), "its columns are not epoch, time"),
    "history of texts": (
        rewritten("history.csv", lambda text: text + b"4,2026-01-01T00:00:00+00:00,x,1,1,1\n"),
        "could not",
    ),
    "history without times": (rewritten("history.csv", lambda text: text + b"4,now,1,1,1,1\n"), "Invalid isoformat"),
    "history of no epoch": (
        rewritten("history.csv", lambda text: text + b"nan,2026-01-01T00:00:00+00:00,1,1,1,1\n"),
        "its row 4 is not of epoch 4",
    ),
    "history of an epoch twice": (
        rewritten("history.csv", lambda text: text + b"3,2026-01-01T00:00:00+00:00,1,1,1,1\n"),
        "its row 4 is not of epoch 4",
    ),
    "history of two values": (rewritten("history.csv", lambda text: text + b"4,5\n"), "is not what it should be"),
    "no arrays": (rewritten("embeddings.npz", lambda _: b"garbage"), "is not what it should be: no arrays"),
    "objects in arrays": (rewritten("embeddings.npz", lambda _: npz(np.array([{}]))), "holds Python objects"),
    "trained at no date": (of_record("cell.json", started="yesterday"), "not one: started: .*Invalid isoformat"),
    "trained in no zone": (of_record("cell.json", started="2026-01-01T00:00:00"), "not one: started: .*without a zone"),
    "measured at no date": (of_record("metrics.json", started="<b>"), "not one: started: .*Invalid isoformat"),
    "negative seconds": (of_record("cell.json", seconds=-1), "not one: seconds: .*greater than or equal to 0"),
    "endless seconds": (of_record("cell.json", seconds=float("inf")), "not one: seconds: .*finite"),
    "a metric called script": (
        of_record("metrics.json", metrics={"<script>alert(1)</script>": 1.0}),
        "not one: metrics.*String should match",
    ),
    "a metric with a path": (of_record("metrics.json", metrics={"../x": 1.0}), "not one: metrics.*String should match"),
    "a metric that is no number": (
        of_record("metrics.json", metrics={"top1": float("nan")}),
        "metrics.json' is not what it should be: 'top1' is nan",
    ),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An archive of cells, for tests that change a copy."""
    with contextlib.chdir(tmp_path_factory.mktemp("exported")):
        export_cells(finished(), Path("cells.tar.gz"), weights=False)
        return Path("cells.tar.gz").absolute()


@pytest.fixture
def archive(exported, two_machines):
    """A copy of an archive of cells, beside an empty working directory."""
    return Path(shutil.copy(exported, ".."))


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_whole(archive, case):
    change, message = HOSTILE[case]
    repack(archive, change)
    with pytest.raises(UserError, match=message):
        import_cells(archive, None)
    assert [path for path in Path("..").rglob("*") if path.is_file()] == [archive]


def test_a_link_inside_an_archive_does_not_arrive(archive):
    repack(archive, unlisted("results/cells/link", tarfile.SYMTYPE, "tiny"))
    import_cells(archive, None)
    assert not any(path.is_symlink() for path in Path("results").rglob("*"))


def test_what_is_no_archive_is_refused(tmp_path):
    Path("x.tar.gz").write_bytes(gzip.compress(b"no tar"))
    with pytest.raises(UserError, match="cannot be unpacked"):
        import_cells(Path("x.tar.gz"), None)
    with pytest.raises(UserError, match="no such file"):
        import_cells(Path("y.tar.gz"), None)


# In the DAG


SHARED = {
    "name": "shared",
    "backbone": {"freeze": "blocks", "cached_views": 2},
    "datasets": {"digits": {"size": 8}},
    "figures": [{"kind": "lambda_curve", "grid": "main"}],
}


def shared(loss, seed):
    return {**SHARED, "grids": [{"name": "main", "dataset": "digits", "loss": loss, "seed": seed}]}


def dry_run(experiment):
    """The jobs that the next run would do, as Snakemake counts them."""
    Path("shared.yaml").write_text(json.dumps(experiment))
    done = snakemake(Path.cwd(), "-n", experiment="shared.yaml")
    assert done.returncode == 0, done.stderr
    return {
        name: count
        for name, count in jobs_of(done.stdout + done.stderr).items()
        if name.isalpha() and name not in ("all", "total")
    }


AFTER = {"summarize": 1, "figures": 1, "report": 1, "track": 1}


def test_two_machines_make_one_experiment(two_machines):
    export_cells(finished(**shared(["ce", "clce"], 0)), Path("../cells.tar.gz"), weights=False)
    two_machines("two")
    finished(**shared(["ce", "clce"], 1))
    import_cells(Path("../cells.tar.gz"), None)
    assert dry_run(shared(["ce", "clce"], [0, 1])) == AFTER
    assert {path for path in Path("results/cells").rglob("model.safetensors") if "_s0-" in str(path)} == set()


def test_one_more_loss_on_published_results_costs_one_loss(two_machines):
    export_cells(finished(**shared(["ce", "clce"], [0, 1])), Path("../cells.tar.gz"), weights=False)
    two_machines("two")
    import_cells(Path("../cells.tar.gz"), None)
    # Nothing else is here: the data that one more loss needs are prepared, and no imported cell runs for that.
    assert {node.verb for node in reruns_of(finished_plan(["ce", "clce"], [0, 1])).runs} == set(AFTER)
    support = {"dataset": 1, "splits": 1, "backbone": 1, "features": 1}
    assert dry_run(shared(["ce", "clce", "tcl"], [0, 1])) == {**support, "train": 2, "evaluate": 2, **AFTER}


def finished_plan(loss, seed):
    return plan_of(parse_experiment(shared(loss, seed), "shared.yaml"))


# Trained again


@pytest.fixture(scope="module")
def trained(tmp_path_factory, backbone):
    """A folder with one cell that was really trained; returns it with its plan."""
    from clce_bench.evaluation.evaluate import evaluate_cell
    from clce_bench.training.train import train_cell

    folder = tmp_path_factory.mktemp("trained")
    experiment = {
        "name": "again",
        "backbone": {"freeze": "none"},
        "datasets": {"tiny": {"size": 32, "split": {"images_per_class": 2}}},
        "recipe": {"epochs": 1},
        "grids": [{"name": "main", "dataset": "tiny", "loss": "clce", "batch_size": 16}],
    }
    with contextlib.chdir(folder):
        plan = plan_of(parse_experiment(experiment, "again.yaml"))
        ((data, dataset),) = plan.jobs["dataset"].items()
        ((split, splits),) = plan.jobs["splits"].items()
        prepare_dataset(dataset.spec, Path("results/data", data))
        make_splits(splits.spec, Path("results/data", data, "items.parquet"), Path("results/splits", split))
        shutil.copytree(backbone, Path("results/backbones", *plan.jobs["backbone"]))
        (cell,) = plan.cells
        train, evaluate = (plan.jobs[verb][cell.key].definition for verb in ("train", "evaluate"))
        train_cell(train, cell.directory)
        evaluate_cell(evaluate, cell.directory / "metrics.json")
        Path("config.yaml").write_text(canonical_json(plan.experiment.model_dump(by_alias=True)))
    return folder, cell


def test_a_cell_trained_again_has_the_same_bits(trained, monkeypatch, capsys):
    folder, cell = trained
    monkeypatch.chdir(folder)
    before = tree("results")
    assert command_status(["verify", "--rerun", "3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (found,) = printed["rerun"]
    assert (found["cell"], found["verdict"], found["compared"]) == (cell.name, "same bits", "bits")
    assert found["differences"] == found["causes"] == printed["findings"] == []
    assert tree("results") == before


def test_a_cell_that_comes_out_otherwise_is_named_with_what_changed(trained, monkeypatch, tmp_path, capsys):
    folder, cell = trained
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    record, metrics = (read_json(cell.directory / name) for name in ("cell.json", "metrics.json"))
    other = record["outputs_sha256"] | {"model.safetensors": "0" * 64}
    record |= {"outputs_sha256": other, "job": record["job"] | {"code": "before"}}
    write_json(cell.directory / "cell.json", record)
    write_json(cell.directory / "metrics.json", metrics | {"cell_sha256": other})
    assert command_status(["verify", "--rerun", "1"]) == 1
    printed = capsys.readouterr().out
    assert f"{cell.name}: differs: model.safetensors; the code of train changed since 2" in printed
    # With another version of torch bits prove nothing, metrics within the tolerance do.
    record["environment"]["packages"]["torch"] = "1.0"
    write_json(cell.directory / "cell.json", record)
    assert command_status(["verify", "--rerun", "1", "--json"]) == 1, "the weights are still damaged"
    (found,) = json.loads(capsys.readouterr().out)["rerun"]
    assert (found["verdict"], found["differences"]) == ("within tolerance", ["model.safetensors"])
    assert found["compared"].startswith("metrics only: torch 1.0 then, ")
    assert [cause.partition(" 1.0 then")[0] for cause in found["causes"]][-1] == "torch"
    metrics |= {"cell_sha256": other, "metrics": metrics["metrics"] | {"top1": metrics["metrics"]["top1"] - 0.03}}
    write_json(cell.directory / "metrics.json", metrics)
    assert command_status(["verify", "--rerun", "1", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["rerun"]
    assert (found["verdict"], found["differences"]) == ("differs", ["model.safetensors", "top1 +0.03"])
