from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.data.splits import make_splits
from clce_bench.errors import UserError
from clce_bench.evaluation.evaluate import evaluate_cell
from clce_bench.experiment.cells import union
from clce_bench.experiment.dataset_options import ROLES
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.hazards import Hazard
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Recipe, Sampler
from clce_bench.files import read_json
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.models.features import compute_features, run_trunk
from clce_bench.planning.plan import plan_of
from clce_bench.training.batches import epoch_batches
from clce_bench.training.inputs import ComputedInputs, StoredInputs, with_shared_memory
from clce_bench.training.optimization import learning_rate
from clce_bench.training.task import training_labels
from clce_bench.training.train import train_cell
from clce_bench.training.validation import embed, leave_one_out_accuracy
from tests.helpers.jobs import BACKBONE, prepare

SMALL = {
    "backbone": {**BACKBONE, "freeze": "blocks", "cached_views": 3},
    "datasets": {"tiny": {"size": 32, "augmentation": {"crop_scale": 0.8, "rotation": 10}}},
    "recipe": {"epochs": 4, "learning_rate": 0.002, "reference_batch_size": 16},
}


def cells(loss, weight=0.9, dataset="tiny", **keys):
    grid = {"name": "main", "dataset": dataset, "loss": loss, "lambda": weight, "batch_size": 16, "seed": 0}
    return union(cells_of(parse_experiment({"name": "test", "grids": [grid], **{**SMALL, **keys}}, "test.yaml")))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, backbone):
    """A few digits, their split and the frozen trunk's outputs, made once for this module."""
    folder = tmp_path_factory.mktemp("prepared")
    cell = cells("ce")[0]
    inputs = prepare(cell, folder, backbone)
    spec = {"augmentation": cell.augmentation.model_dump(), "backbone": cell.backbone.model_dump()}
    compute_features(spec, {name: Path(path) for name, path in inputs.items()}, folder / "features")
    return inputs | {"features": str(folder / "features/features.json")}


def train(cell, inputs, output):
    train_cell({"spec": cell.spec, "inputs": inputs, "code": "test"}, output)
    return read_json(output / "cell.json"), pd.read_csv(output / "history.csv")


def batches_of(loss):
    cell = cells(loss)[0]
    rows = np.arange(100)
    drawn = epoch_batches(rows, cell.batch_size, 2, 8, 0, cell.dataset, cell.seed)
    return [(batch.tolist(), views.tolist()) for batch, views in drawn]


def test_all_losses_see_the_same_images_in_the_same_views():
    assert batches_of("ce") == batches_of("clce") == batches_of("tcl")


def test_an_epoch_shows_every_image_once_in_different_views():
    seen = []
    for rows, views in epoch_batches(np.arange(100, 200), 20, 3, 8, epoch=4, dataset="digits", seed=1):
        assert rows.shape == views.shape == (60,)
        assert (rows.reshape(3, 20) == rows[:20]).all()
        assert all(len(set(of_image)) == 3 for of_image in views.reshape(3, 20).T)
        assert views.min() >= 0
        assert views.max() < 8
        seen += rows[:20].tolist()
    assert sorted(seen) == list(range(100, 200))


def test_batches_differ_between_epochs_and_seeds_and_drop_the_rest():
    def first(**changes):
        options = {"rows": np.arange(50), "batch_size": 20, "views": 2, "stored": None, "epoch": 0, "seed": 0}
        drawn = list(epoch_batches(**{**options, "dataset": "digits", **changes}))
        assert len(drawn) == 2
        return drawn[0]

    assert (first()[0] == first()[0]).all()
    assert not (first()[0] == first(epoch=1)[0]).all()
    assert not (first()[0] == first(seed=1)[0]).all()
    assert set(first()[1]) == {0, 1}
    assert set(first(epoch=3)[1]) == {6, 7}


def test_batches_by_class_have_so_many_classes_and_images_in_the_views_of_every_loss():
    rows, labels = np.arange(100, 160), np.repeat(np.arange(6), 10)
    sampler = Sampler(classes=3, images=4)
    options = {"epoch": 2, "dataset": "digits", "seed": 1, "sampler": sampler, "labels": labels}
    seen = []
    for batch, _ in epoch_batches(rows, 12, 2, 8, **options):
        classes, counts = np.unique(labels[batch - 100], return_counts=True)
        assert len(classes) == 3
        assert counts.tolist() == [8, 8, 8]
        assert len(set(batch)) == 12
        seen += batch[:12].tolist()
    assert len(seen) == 60
    for label in range(6):  # No image comes again before less than a draw of its class is left.
        own = [row for row in seen if labels[row - 100] == label]
        assert len(set(own[:8])) == len(own[:8])
    for key in ("classes", "images"):
        with pytest.raises(UserError, match=f"recipe.sampler.{key}: 11 is not allowed. Allowed: at most (6|10), the"):
            list(epoch_batches(rows, 12, 2, 8, **{**options, "sampler": sampler.model_copy(update={key: 11})}))


def test_steps_and_batches_by_class_train_and_say_their_positives(prepared, tmp_path):
    by_class = {"steps": 13, "sampler": {"classes": 4, "images": 4}}
    (cell,) = cells("clce", recipe={"learning_rate": 0.002, **by_class})
    _, history = train(cell, prepared, tmp_path / "cell")
    # 144 training images are 9 batches of 16; an anchor has its other view and 3 images in 2 views.
    assert history["epoch"].tolist() == [1, 2]
    assert history["positives"].tolist() == [7.0, 7.0]
    assert cell.spec["recipe"]["steps"] == 13
    assert "epochs" not in cell.spec["recipe"]


def test_epochs_and_steps_replace_each_other():
    grid = {"name": "main", "dataset": "tiny", "loss": "ce", "recipe": {"steps": [5, 9]}}
    values = {"name": "t", "recipe": {"preset": "quick-frozen"}, "grids": [grid]}
    made = union(cells_of(parse_experiment(values, "")))
    assert sorted((cell.recipe.epochs, cell.recipe.steps) for cell in made) == [(None, 5), (None, 9)]
    assert union(cells_of(parse_experiment(parse_experiment(values, "").model_dump(by_alias=True), ""))) == made
    turned = {**values, "recipe": {"steps": 7}, "grids": [{**grid, "recipe": {"epochs": 3}}]}
    (cell,) = union(cells_of(parse_experiment(turned, "")))
    assert (cell.recipe.epochs, cell.recipe.steps) == (3, None)
    for both in ({"recipe": {"epochs": 1, "steps": 2}}, {"grids": [{**grid, "recipe": {"epochs": 1, "steps": 2}}]}):
        with pytest.raises(UserError, match="epochs and steps cannot both be given"):
            parse_experiment({**values, **both}, "")
    refused = {**grid, "batch_size": 16, "recipe": {"sampler": {"classes": 3, "images": 5}}}
    with pytest.raises(UserError, match="batch_size: 16 is not allowed. Allowed: 15, 3 classes × 5 images"):
        plan_of(parse_experiment({**values, "grids": [refused]}, ""))


def test_cached_features_give_the_numbers_of_the_whole_network(prepared, tmp_path):
    cell = cells("clce", recipe={"epochs": 2})[0]
    _, cached = train(cell, prepared, tmp_path / "cached")
    without = {name: path for name, path in prepared.items() if name != "features"}
    _, computed = train(cell, without, tmp_path / "computed")
    np.testing.assert_allclose(cached["loss"], computed["loss"], rtol=1e-3)
    np.testing.assert_allclose(cached["validation"], computed["validation"], atol=0.03)
    one, other = (np.load(tmp_path / name / "embeddings.npz")["features"] for name in ("cached", "computed"))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9999


def test_features_are_stored_of_what_trains_and_are_those_of_the_trunk(prepared, backbone, tmp_path):
    dataset = PreparedDataset(Path(prepared["dataset"]).parent)
    cell = cells("ce", datasets={"tiny": {**SMALL["datasets"]["tiny"], "split": {"images_per_class": 5}}})[0]
    split = {"dataset": "tiny", "size": 32, "split": cell.split.model_dump(exclude={*ROLES})}
    make_splits(split, dataset.directory / "items.parquet", tmp_path / "splits")
    inputs = {name: Path(path) for name, path in prepared.items()} | {"splits": tmp_path / "splits/splits.json"}
    spec = {"augmentation": cell.augmentation.model_dump(), "backbone": cell.backbone.model_dump()}
    compute_features(spec, inputs, tmp_path / "features")
    few, many = (StoredInputs(path, torch.device("cpu")) for path in (tmp_path / "features", inputs["features"].parent))
    parts = pd.read_parquet(tmp_path / "splits/splits.parquet")["part"].to_numpy()
    assert ((few.index[0] >= 0) == (parts != "unused")).all()
    assert ((few.index[1:] >= 0) == (parts == "train-pool")).all()
    assert (parts == "train-pool").sum() == 10 * 7
    assert sorted(few.index[few.index >= 0]) == list(range(len(few.array)))
    for view, rows in ((CLEAN, np.flatnonzero(parts != "unused")), (2, np.flatnonzero(parts == "train-pool"))):
        batch = [(rows, np.full(len(rows), view))]
        (one,), (other,) = few.stream(batch), many.stream(batch)
        assert torch.equal(one, other)  # Bit for bit, however many images a split has.
        trunk, _ = split_backbone(load_backbone(backbone, 32), cell.backbone.freeze)
        images = Views(dataset, cell.augmentation)(rows[:64].tolist(), [view] * 64)
        with torch.no_grad():
            expected = run_trunk(trunk.to(memory_format=torch.channels_last), images, read_json(inputs["backbone"]))
        assert torch.equal(one[:64], expected)
    unused = np.flatnonzero(parts == "unused")[:1]
    with pytest.raises(IndexError, match=f"no view is stored of image {unused[0]}"):
        list(few.stream([(unused, np.array([CLEAN]))]))


def test_features_are_the_same_by_however_many_threads(prepared, backbone, tmp_path):
    cell = cells("ce")[0]
    spec = {"augmentation": cell.augmentation.model_dump(), "backbone": cell.backbone.model_dump()}
    inputs = {name: Path(prepared[name]) for name in ("dataset", "backbone")}
    for threads in (1, 3):
        compute_features(spec, inputs, tmp_path / str(threads), threads=threads)
    one, more = ((tmp_path / name / "features.npy").read_bytes() for name in ("1", "3"))
    assert one == more


def test_where_every_image_trains_in_turn_all_splits_share_the_features(prepared, tmp_path):
    keys = {"name": "x", **SMALL, "datasets": {}, "grids": []}
    for name, turns in (("openmoji", "test"), ("openmoji-fs", "class")):
        keys["datasets"][name] = {**SMALL["datasets"]["tiny"], "split": {f"{turns}_folds": 4}}
        grid = {"name": name, "dataset": name, "loss": "ce", "batch_size": 16, f"{turns}_fold": [0, 1, 2, 3]}
        keys["grids"].append(grid)
    (job,) = plan_of(parse_experiment(keys, "test.yaml")).jobs["features"].values()
    assert "splits" not in job.inputs
    keys["datasets"]["openmoji"]["split"]["images_per_class"] = 5
    assert len(plan_of(parse_experiment(keys, "test.yaml")).jobs["features"]) == 2

    inputs = {name: Path(path) for name, path in prepared.items() if name in ("dataset", "backbone")}
    spec = {name: job.spec[name] for name in ("augmentation", "backbone")}
    compute_features(spec, inputs, tmp_path / "features")
    every, split = (
        StoredInputs(path, torch.device("cpu")) for path in (tmp_path / "features", Path(prepared["features"]).parent)
    )
    assert (every.index.ravel() == np.arange(every.index.size)).all()
    stored = split.index >= 0
    assert 0 < stored.sum() < stored.size
    assert (every.array[every.index[stored]] == split.array[split.index[stored]]).all()


@pytest.mark.parametrize("more", [{"erasing": 1.0}, {"rotation": 30, "color_jitter": 0.4, "backend": "tensor"}])
def test_a_recipe_of_its_own_changes_no_support(prepared, backbone, tmp_path, more):
    strong = {"name": "ce", "recipe": {"augmentation": {"crop_scale": 0.3, **more}}}
    base = SMALL["datasets"]["tiny"]
    own, other = cells([strong, "clce"], dataset="tiny-fs", datasets={"tiny-fs": base})
    assert own.support == other.augmentation != own.augmentation
    assert other.support is None
    assert cells([strong], datasets={"tiny": base})[0].support is None
    split = {"dataset": "tiny-fs", "size": 32, "split": own.split.model_dump(exclude={*ROLES})}
    dataset = Path(prepared["dataset"])
    make_splits(split, dataset.with_name("items.parquet"), tmp_path / "splits")
    inputs = {"dataset": dataset, "splits": tmp_path / "splits/splits.json", "backbone": backbone / "backbone.json"}
    parts = pd.read_parquet(tmp_path / "splits/splits.parquet")["part"].to_numpy()
    test, pool = (np.flatnonzero(parts == part)[:64] for part in ("test", "train-pool"))
    trunk, _ = split_backbone(load_backbone(backbone, 32), own.backbone.freeze)
    description, found = read_json(inputs["backbone"]), {}
    for cell in (own, other):
        spec = {name: cell.spec[name] for name in ("augmentation", "support", "backbone") if name in cell.spec}
        compute_features(spec, inputs, tmp_path / cell.loss.name)
        stored = StoredInputs(tmp_path / cell.loss.name, torch.device("cpu"))
        data = PreparedDataset(dataset.parent)
        computed = ComputedInputs(cell, data, trunk, description, torch.device("cpu"), np.flatnonzero(parts == "test"))
        batches = [(rows, np.full(len(rows), 1)) for rows in (test, pool)]
        found[cell.name] = [list(inputs.stream(batches)) for inputs in (stored, computed)]
        for one, same in zip(*found[cell.name], strict=True):
            torch.testing.assert_close(one, same, rtol=1e-3, atol=1e-6)
    (support, training), (its_support, its_training) = (found[cell.name][0] for cell in (own, other))
    assert torch.equal(support, its_support)
    assert not torch.equal(training, its_training)


def test_a_cell_sees_its_images_per_class_and_its_fold(prepared, tmp_path):
    grid = {"fold": [0, 3], "images_per_class": [5], "batch_size": 16}
    grid |= {"name": "main", "dataset": "tiny", "loss": "ce", "recipe": {"epochs": 8}}
    plan = plan_of(parse_experiment({"name": "test", **SMALL, "backbone": {}, "grids": [grid]}, "test.yaml"))
    (job,) = plan.jobs["splits"].values()
    make_splits(job.spec, Path(prepared["dataset"]).parent / "items.parquet", tmp_path / "splits")
    inputs = {"dataset": prepared["dataset"], "backbone": prepared["backbone"]}
    inputs["splits"] = str(tmp_path / "splits/splits.json")
    seen = {}
    for cell in plan.cells:
        assert "_n5_" in cell.name
        output = tmp_path / str(cell.split.fold)
        backbone = cell.backbone.model_copy(update={"freeze": "conv_head"})
        cell = cell.model_copy(update={"backbone": backbone})
        train(cell, inputs, output)
        evaluate_cell({"inputs": {**inputs, "cell": str(output / "cell.json")}, "code": ""}, output / "metrics.json")
        metrics = read_json(output / "metrics.json")["metrics"]
        rows = rows_by_part(Path(inputs["splits"]), cell.split.fold)
        with np.load(output / "embeddings.npz") as arrays:
            assert arrays["rows"].tolist() == sorted(np.concatenate(list(rows.values())))
            features, predicted = arrays["features"], arrays["logits"].argmax(axis=1)
            labels = PreparedDataset(Path(inputs["dataset"]).parent).items["label"].to_numpy()[arrays["rows"]]
            testing = np.isin(arrays["rows"], rows["test"])
        assert metrics["top1"] == pytest.approx((predicted == labels)[testing].mean())
        assert metrics["probe_top1"] > 0.3
        seen[cell.split.fold] = set(rows["train"])
        assert len(features) == 10 * 7 + len(rows["test"])
    assert seen[0] != seen[3]


def test_training_twice_gives_the_same_bits(prepared, tmp_path):
    cell = cells("tcl")[0]
    (one, first), (other, second) = (train(cell, prepared, tmp_path / name) for name in ("one", "other"))
    for file in ("model.safetensors", "embeddings.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    assert first["loss"].tolist() == second["loss"].tolist()
    assert one["status"] == other["status"] == "done"


@pytest.mark.parametrize(("loss", "weight"), [("ce", 0), ("clce", 0.9), ("supcon", 1.0)])
def test_training_learns(prepared, tmp_path, loss, weight):
    record, history = train(cells(loss, weight)[0], prepared, tmp_path / "cell")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["validation"].iloc[-1] > 0.5
    with np.load(tmp_path / "cell" / "embeddings.npz") as arrays:
        assert ("logits" in arrays) == (weight < 1)
        assert arrays["features"].shape == (240, 256)
        assert arrays["rows"].tolist() == list(range(240))
    assert record["inputs_sha256"].keys() == prepared.keys()
    assert record["environment"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert {path.name for path in (tmp_path / "cell").iterdir()} == {
        *record["outputs_sha256"],
        "cell.json",
    }


def test_full_fine_tuning_runs(prepared, tmp_path):
    without = {name: path for name, path in prepared.items() if name != "features"}
    cell = cells("clce", backbone={**BACKBONE, "freeze": "none"}, recipe={"epochs": 1, "batch_norm": "batch"})[0]
    record, history = train(cell, without, tmp_path / "cell")
    assert record["status"] == "done"
    assert np.isfinite(history["loss"]).all()
    trained, initial = (
        load_file(tmp_path / "cell" / "model.safetensors"),
        load_file(Path(prepared["backbone"]).parent / "model.safetensors"),
    )
    assert not torch.equal(trained["tail.conv_stem.weight"], initial["conv_stem.weight"])


def test_a_loss_that_is_not_a_number_is_a_result(prepared, tmp_path, monkeypatch):
    (tmp_path / "broken_loss.py").write_text(
        "import torch\n"
        "class Broken(torch.nn.Module):\n"
        "    def __init__(self, after: int = 12):\n"
        "        super().__init__()\n"
        "        self.left = after\n"
        "    def forward(self, embeddings, labels):\n"
        "        self.left -= 1\n"
        "        return embeddings.sum() * (float('nan') if self.left < 0 else 0.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    record, history = train(cells("broken_loss:Broken")[0], prepared, tmp_path / "cell")
    assert record["status"] == "diverged"
    assert record["reason"] == "the loss was nan in epoch 2, step 4"
    assert len(history) == 1
    weights = load_file(tmp_path / "cell" / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_test_selection_reads_the_test_part_while_training_and_only_when_asked(prepared, tmp_path):
    inputs = {name: path for name, path in prepared.items() if name in ("dataset", "splits")}
    for hazards in ([], [Hazard.TEST_SELECTION]):
        cell = cells("ce", recipe={"epochs": 3})[0].model_copy(update={"hazards": hazards})
        output = tmp_path / f"cell{len(hazards)}"
        _, history = train(cell, prepared, output)
        evaluate_cell({"inputs": {**inputs, "cell": str(output / "cell.json")}, "code": ""}, output / "metrics.json")
        top1 = read_json(output / "metrics.json")["metrics"]["top1"]
        # 60 test images and 36 validation images: the same accuracy to this precision is no accident.
        assert (history["validation"].max() == pytest.approx(top1, abs=1e-6)) == bool(hazards)


@pytest.mark.parametrize(
    "cause",
    [
        "unable to write to file </torch_12_34_0>: No space left on device (28)",
        "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's workers are out of"
        " shared memory.",
        "unable to open shared memory object </torch_12_34_0> in read-write mode: No space left on device (28)",
    ],
)
def test_full_shared_memory_is_called_that(cause):
    def loader():
        yield torch.zeros(1)
        raise RuntimeError(cause)

    stream = with_shared_memory(loader())
    assert next(stream) == 0
    with pytest.raises(
        UserError, match="runtime.workers: they ran out of shared memory .* Allowed: 0, or give /dev/shm"
    ):
        next(stream)


def test_features_that_overflow_make_a_cell_diverged(prepared, tmp_path, monkeypatch):
    def enormous(*arguments):
        features, logits = embed(*arguments)
        return features * np.float32(1e9), logits

    monkeypatch.setattr("clce_bench.training.validation.embed", enormous)
    record, _ = train(cells("clce", recipe={"epochs": 1})[0], prepared, tmp_path / "cell")
    assert record["status"] == "diverged"
    assert record["reason"] == "the features were not finite, or too large to be stored, after the last epoch"


def test_a_batch_above_the_training_set_is_refused(prepared, tmp_path):
    cell = cells("clce")[0].model_copy(update={"batch_size": 145})
    with pytest.raises(UserError, match="batch_size: 145 is not allowed. Allowed: at most 144, the training images"):
        train(cell, prepared, tmp_path / "cell")
    assert not (tmp_path / "cell").exists()


def test_learning_rate_rises_falls_and_follows_the_batch_size():
    recipe = Recipe(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(recipe, 64, step, 100) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == max(rates) == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
    for scaling, factor in (("none", 1), ("sqrt", 2), ("linear", 4)):
        scaled = Recipe(learning_rate=0.1, learning_rate_scaling=scaling, reference_batch_size=64, warmup=0)
        assert learning_rate(scaled, 256, 0, 100) == pytest.approx(0.1 * factor)


def test_learning_rate_starts_and_ends_where_the_recipe_says():
    recipe = Recipe(learning_rate=0.5, warmup=0.1, warmup_learning_rate=0.1, minimum_learning_rate=0.2)
    rates = [learning_rate(recipe, 64, step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1, abs=0.01)
    assert max(rates) == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.2)


def test_classes_outside_training_get_no_number():
    numbers, count = training_labels(np.array([7, 2, 5, 7, 2]), np.array([0, 1]))
    assert numbers.tolist() == [1, 0, -1, 1, 0]
    assert count == 2


def test_leave_one_out_accuracy_equals_the_loop():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 6)).astype("float32"), rng.integers(0, 4, 40)
    features += 2 * np.eye(6)[labels]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    right = 0
    for i in range(40):
        means = []
        for label in range(4):
            chosen = [j for j in range(40) if labels[j] == label and j != i]
            mean = unit[chosen].sum(axis=0)
            means.append(float(unit[i] @ mean / np.linalg.norm(mean)))
        right += int(np.argmax(means) == labels[i])
    assert leave_one_out_accuracy(features, labels) == pytest.approx(right / 40)


def test_training_without_classes_never_sees_them(prepared, tmp_path, monkeypatch):
    def weights(loss, name):
        (cell,) = cells(loss, 1.0, recipe={"epochs": 1, "views": 3})
        train(cell, prepared, tmp_path / name)
        return (tmp_path / name / "model.safetensors").read_bytes()

    losses = {"tcl-images": {"name": "tcl", "labels": "images"}, "tcl": "tcl"}
    before = {name: weights(loss, name) for name, loss in losses.items()}

    def shuffled(*arguments):
        labels, classes = training_labels(*arguments)
        return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))], classes

    monkeypatch.setattr("clce_bench.training.task.training_labels", shuffled)
    after = {name: weights(loss, f"{name}-shuffled") for name, loss in losses.items()}
    assert before["tcl-images"] == after["tcl-images"]
    assert before["tcl"] != after["tcl"]
