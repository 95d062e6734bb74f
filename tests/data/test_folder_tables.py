"""What a folder of the user's says beside its classes: groups, parts, and that it is a few-shot set."""

from pathlib import Path

import pandas as pd
import pytest

from clce_bench.components.registry import load_dataset
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import rows_by_part
from clce_bench.data.splits import make_splits
from clce_bench.errors import UserError
from clce_bench.experiment.dataset_options import Split
from clce_bench.experiment.loading import parse_experiment
from clce_bench.planning.plan import plan_of
from tests.helpers.originals import jpeg


@pytest.fixture
def photos(tmp_path):
    """Two classes of twelve images, three of each of four patients."""
    for label in ("ill", "well"):
        for patient in range(4):
            for number in range(3):
                path = tmp_path / "photos" / label / f"patient{patient}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(jpeg(10 * patient + number + 100 * (label == "ill"), kind="PNG"))
    return tmp_path / "photos"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def patient(name):
    return name.rpartition("/")[2].partition("_")[0]


def write(path, column, rows):
    path.write_text("".join(f"{name},{value}\n" for name, value in [("file", column), *rows]))


def divided(photos, tmp_path, kind="folder", **split):
    """The images of each part."""
    name = f"{kind}:{photos}"
    prepare_dataset({"dataset": name, "size": 8}, tmp_path / "prepared")
    spec = {"dataset": name, "size": 8, "split": Split(**split).model_dump(exclude={"fold"})}
    make_splits(spec, tmp_path / "prepared" / "items.parquet", tmp_path / "splits")
    ids = load_dataset(name).read(8).ids
    rows = rows_by_part(tmp_path / "splits" / "splits.json", 0)
    return {part: {ids[row] for row in found} for part, found in rows.items() if len(found)}


@pytest.mark.parametrize("told", ["groups.csv", "groups.txt"])
def test_a_group_is_on_one_side(photos, tmp_path, told):
    if told == "groups.csv":
        write(photos / told, "group", [(name, patient(name)) for name in names(photos)])
    else:
        (photos / told).write_text(r"(patient\d+)_" + "\n")
    parts = divided(photos, tmp_path, folds=2)
    assert set(parts) == {"train", "validation", "test"}
    patients = [{patient(name) for name in found} for found in parts.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 4
    assert sum(map(len, parts.values())) == 24


def grouped(photos, pattern, name="folder"):
    key = f"{name}:{photos}"
    grid = {"name": "main", "dataset": key, "loss": "ce", "batch_size": 4}
    values = {"name": "t", "grids": [grid], "datasets": {key: {"size": 8, "groups": pattern, "split": {"folds": 2}}}}
    return plan_of(parse_experiment(values, "t.yaml"))


def test_groups_of_the_experiment_file_are_on_one_side(photos):
    plans = {pattern: grouped(photos, pattern) for pattern in ("", r"(patient\d)_", r"/(p.*\d)_")}
    names_of_cells = {plan.cells[0].name for plan in plans.values()}
    assert len(names_of_cells) == len({next(iter(plan.jobs["splits"])) for plan in plans.values()}) == 3
    plan = plans[r"(patient\d)_"]
    for verb, make in (("dataset", prepare_dataset), ("splits", make_splits)):
        ((key, job),) = plan.jobs[verb].items()
        inputs = [Path(path).with_name("items.parquet") for path in job.inputs.values()]
        make(job.spec, *inputs, Path(job.output).parent)
    items = pd.read_parquet(Path(plan.jobs["splits"][key].inputs["dataset"]).with_name("items.parquet"))
    assert items["id"].map(patient).groupby(items["group"]).nunique().tolist() == [1, 1, 1, 1]
    rows = rows_by_part(Path(plan.jobs["splits"][key].output), 0)
    groups = [set(items["group"].iloc[found]) for found in rows.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 4


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(patient", "groups: '\\(patient' is not a regular expression"),
        ("patient.", "it has 0 groups. Allowed: a regular expression with exactly one group"),
        ("(pat)(ient)", "it has 2 groups"),
        (r"(patient[0-2])_", r"finds nothing in ill/patient3_0.png; each image needs a group"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(photos, pattern, told):
    with pytest.raises(UserError, match=told):
        grouped(photos, pattern)


def test_a_pattern_is_of_folders_that_have_no_groups_of_their_own(photos):
    write(photos / "groups.csv", "group", [(names(photos)[0], "a")])
    with pytest.raises(UserError, match=r"groups: the folder has groups.csv; remove the one or the other"):
        grouped(photos, "(patient.)")
    values = {"name": "t", "grids": [{"name": "main", "dataset": "digits", "loss": "ce"}]}
    with pytest.raises(UserError, match=r"datasets.digits.groups: '\(x\)' is not allowed. Allowed: with folder:PATH"):
        plan_of(parse_experiment({**values, "datasets": {"digits": {"groups": "(x)"}}}, "t.yaml"))


def test_without_groups_patients_are_mixed(photos, tmp_path):
    patients = [{patient(name) for name in found} for found in divided(photos, tmp_path, folds=2).values()]
    assert sum(map(len, patients)) > 4


def test_parts_are_those_of_the_table(photos, tmp_path):
    known = {"patient0": "Val", "patient1": "testing"}
    told = {name: known.get(patient(name), "train") for name in names(photos)}
    write(photos / "part.csv", "part", told.items())
    parts = divided(photos, tmp_path)
    for part, word in (("train", "train"), ("validation", "Val"), ("test", "testing")):
        assert parts[part] == {name for name, value in told.items() if value == word}


def test_a_few_shot_folder_divides_classes_and_uses_the_images_of_the_folder(photos):
    for label in "abcdef":
        (photos / label).mkdir()
        for number in range(3):
            (photos / label / f"{number}.png").write_bytes(jpeg(ord(label) + 3 * number, kind="PNG"))
    plain, few_shot = load_dataset(f"folder:{photos}"), load_dataset(f"folder-fs:{photos}")
    assert (few_shot.task, few_shot.images, few_shot.state) == ("few-shot", plain.name, plain.state)
    options = {"episodes": {"way": 2, "queries": 1, "shots": [1]}}
    grid = {"name": "main", "dataset": f"folder-fs:{photos}", "loss": "clce", "batch_size": 4}
    plan = plan_of(parse_experiment({"name": "t", "grids": [grid], "datasets": {grid["dataset"]: options}}, "t.yaml"))
    assert "episodes" in plan.jobs


def test_parts_of_a_few_shot_folder_are_its_classes(photos, tmp_path):
    for label in ("a", "b"):
        (photos / label).mkdir()
        for number in range(3):
            (photos / label / f"{number}.png").write_bytes(jpeg(ord(label) + 3 * number, kind="PNG"))
    part_of = {"ill": "train", "well": "train", "a": "val", "b": "test"}
    write(photos / "part.csv", "part", [(name, part_of[name.partition("/")[0]]) for name in names(photos)])
    assert load_dataset(f"folder-fs:{photos}").images == f"folder-fs:{photos}"
    parts = divided(photos, tmp_path, "folder-fs")
    assert {part: {name.partition("/")[0] for name in found} for part, found in parts.items()} == {
        "train": {"ill", "well"},
        "validation": {"a"},
        "test": {"b"},
    }
    write(photos / "part.csv", "part", [(name, "train" if "0" in name else "test") for name in names(photos)])
    with pytest.raises(UserError, match="the class 'a' is in two parts"):
        load_dataset(f"folder-fs:{photos}")


def test_another_table_makes_it_another_data_set(photos):
    states = {load_dataset(f"folder:{photos}").state}
    for pattern in ("patient.", "(patient)."):
        (photos / "groups.txt").write_text(pattern)
        states.add(load_dataset(f"folder:{photos}").state)
    assert len(states) == 3


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("groups.csv", "file,scene\n", r"groups.csv: columns file and group are needed; found \['file', 'scene'\]"),
        ("groups.csv", "file,group\nill/patient0_9.png,a\n", "line 2: 'ill/patient0_9.png' is not an image .* Did you"),
        ("groups.csv", "file,group\nill/patient0_0.png,\n", "line 2: ill/patient0_0.png has no group"),
        ("groups.csv", "file,group\n" + 2 * "ill/patient0_0.png,a\n", "line 3: ill/patient0_0.png has two rows"),
        ("groups.txt", "(patient", "groups.txt: not a regular expression: "),
        ("groups.txt", "scene", "'scene' finds nothing in any path, such as ill/"),
        ("part.csv", "file,part\nill/patient0_0.png,train\n", "the part of ill/patient0_1.png is missing, and of 22"),
    ],
)
def test_a_table_with_a_mistake_is_named(photos, file, text, told):
    (photos / file).write_text(text)
    with pytest.raises(UserError, match=told):
        load_dataset(f"folder:{photos}")


def test_parts_and_groups_that_contradict_each_other_are_refused(photos):
    listed = names(photos)
    write(photos / "part.csv", "part", [(name, "train") for name in listed[:-1]] + [(listed[-1], "extra")])
    with pytest.raises(UserError, match="'extra' is not a part"):
        load_dataset(f"folder:{photos}")
    write(photos / "part.csv", "part", [(name, "test" if name.endswith("0.png") else "train") for name in listed])
    (photos / "groups.txt").write_text("patient.")
    with pytest.raises(UserError, match="the group 'patient0' is in two parts"):
        load_dataset(f"folder:{photos}")
