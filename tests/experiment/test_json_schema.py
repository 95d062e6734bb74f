"""The JSON schema of experiment files against the reader: what one takes, the other takes."""

import json
from copy import deepcopy
from functools import cache

import pytest
from jsonschema import Draft7Validator

from clce_bench.cli import command_status
from clce_bench.errors import UserError
from clce_bench.experiment.json_schema import experiment_schema
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.strict_yaml import parse_yaml
from tests.helpers.miniature import ROOT

SHIPPED = [ROOT / "config.yaml", *sorted((ROOT / "experiments").glob("*.yaml"))]
WORDS = {"id", "name", "description", "statement", "paper", "place", "caveat", "weights", "freeze", "uri"}
"""Keys that take any text, or text of which only the reader knows whether it names something."""

# Every section once; each shortcut of the reader once.
EVERYTHING = {
    "name": "everything",
    "description": "All keys.",
    "backbone": {"name": "resnet18", "weights": "random", "small_stem": True, "cached_views": 2},
    "datasets": {
        "digits": {
            "size": 32,
            "split": {"seed": 1, "test": 0.3, "folds": 4, "fold": 1, "images_per_class": 20},
            "augmentation": {"crop_scale": 0.8, "rotation": 10, "auto_augment": "rand-m9", "flip": 0.5},
            "corrupt": "skip",
            "recipe": {"augmentation": "simclr"},
        },
        "openmoji-fs": {"episodes": {"count": 50, "way": 5, "shots": [1, 5], "queries": 15, "normalise": False}},
    },
    "recipe": {"preset": "quick-frozen", "epochs": 3, "warmup": 0.2, "optimizer": "sgd", "batch_norm": "batch"},
    "runtime": {"device": "cpu", "micro_batch": "auto", "checkpoint_seconds": 30, "workers": 0},
    "losses": {"clce": {"temperature": 0.2, "beta": [0, 1]}, "ce": {"recipe": {"label_smoothing": 0.1}}},
    "grids": [
        {
            "name": "one",
            "dataset": "digits",
            "loss": ["ce", {"name": "supcon", "positives": "inside", "labels": "classes"}, "clce", "ntxent"],
            "lambda": [0.5, 0.9],
            "batch_size": 32,
            "seed": [0, 1],
            "backbone": ["resnet18", {"name": "resnet34", "small_stem": False}],
            "fold": 0,
            "recipe": {"views": [2, 3], "epochs": 2, "augmentation": {"preset": "simclr", "backend": "tensor"}},
            "hazards": "same-crop",
        },
        {
            "name": "search",
            "dataset": ["digits"],
            "loss": [{"name": "tcl", "k2": 1}],
            "tuning": {
                "trials": 4,
                "seed": 1,
                "space": {
                    "tcl": {
                        "k1": {"low": 1, "high": 100, "log": True},
                        "recipe.learning_rate": {"low": 1e-4, "high": 1e-2},
                        "recipe.epochs": [1, 2],
                        "lambda": [0.5, 0.9],
                    }
                },
            },
        },
    ],
    "claims": [
        "clce-above-ce",
        {"id": "schane-above-ce", "grids": "one", "primary": True, "margin": 0.5},
        {
            "id": "mine",
            "statement": "Steady.",
            "paper": "none",
            "place": "here",
            "kind": "steadier",
            "first": {"loss": "clce"},
            "second": {"loss": ["ce"]},
            "over": "batch_size",
            "metric": "top1",
        },
    ],
    "figures": [
        {"kind": "differences", "grid": "one", "metrics": ["top1"], "where": {"dataset": "digits"}},
        {"kind": "tsne", "grid": ["one"], "classes": ["1"]},
    ],
    "tracking": {"uri": "http://127.0.0.1"},
}


@cache
def validator():
    schema = experiment_schema()
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def places(values, path=()):
    """Lists the path of every value below the root."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def at(values, path):
    for key in path:
        values = values[key]
    return values


def changed(path, new, key=None):
    """Returns everything with another value at a place, or with another key there."""
    values = deepcopy(EVERYTHING)
    owner = at(values, path[:-1])
    if key:
        owner.pop(path[-1])
    owner[key or path[-1]] = new
    return values


def mutations():
    """Lists broken experiments: each key misspelt, each value replaced by what its key does not take."""
    for path in places(EVERYTHING):
        value, key = at(EVERYTHING, path), path[-1]
        in_selector = {"first", "second", "where"} & set(path[:-1])
        if isinstance(key, str) and not (in_selector and "where" in path):
            yield changed(path, value, key=f"{key}x")
        if in_selector or key in WORDS | {"where"} or path[:3] == ("grids", 0, "backbone"):
            continue
        yield changed(path, {"surprise": 1})
        if isinstance(value, bool):
            yield changed(path, "maybe")
        elif isinstance(value, int | float):
            yield changed(path, -1)
            yield changed(path, "many")
        elif isinstance(value, str) and not {"metric", "metrics", "classes", "grid", "grids"} & set(path[-2:]):
            yield changed(path, "no-such")
    for section in ("name", "grids"):
        yield {key: value for key, value in EVERYTHING.items() if key != section}
    yield {**EVERYTHING, "recipe": {"epochs": 1, "steps": 5}}
    yield {**EVERYTHING, "recipe": "quick"}
    yield changed(("grids", 0, "lambda"), [])
    yield changed(("grids", 0, "seed"), [0.5])
    yield changed(("grids", 0, "recipe"), {"views": []})
    yield changed(("claims",), ["all", "clce-above"])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_validates(path):
    assert not [error.message for error in validator().iter_errors(parse_yaml(path.read_text()))]


def test_what_uses_every_shortcut_of_the_reader_validates():
    parse_experiment(EVERYTHING, "everything.yaml")
    assert not [error.message for error in validator().iter_errors(EVERYTHING)]


def test_what_the_reader_refuses_the_schema_refuses():
    broken = list(mutations())[::4]  # All of them hold; a quarter is enough to tell.
    assert len(broken) >= 80
    for values in broken:
        with pytest.raises(UserError) as caught:
            parse_experiment(values, "broken.yaml")
        assert not validator().is_valid(values), f"The schema takes what the reader refuses: {caught.value}"


def test_components_of_the_users_own_validate():
    own = {"name": "own", "grids": [{"name": "a", "dataset": "folder:x", "loss": {"name": "my:Loss", "margin": 0.2}}]}
    assert validator().is_valid({**own, "losses": {"my:Loss": {"margin": [0.1, 0.2]}}})
    assert validator().is_valid({**own, "figures": [{"kind": "my:Figure", "grid": "a", "colour": "red"}]})


def test_every_key_is_explained_and_the_verb_prints_it(capsys):
    assert command_status(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    models = {"the file": schema, **{name: part for name, part in schema["$defs"].items() if name != "Searched"}}
    keys = [(model, key, value) for model, part in models.items() for key, value in part.get("properties", {}).items()]
    assert len(keys) > 150
    assert not [(model, key) for model, key, value in keys if not value.get("description")]
