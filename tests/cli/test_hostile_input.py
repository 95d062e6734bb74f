"""Bad experiment files and folders: ``plan`` ends with status 2 and one message, soon, and writes nothing."""

import io
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clce_bench.cli import command_status
from tests.helpers.interpreters import python
from tests.helpers.miniature import ROOT

GRID = {"name": "main", "dataset": "digits", "loss": "clce"}
HEAD = "name: x\nfigures: []\n"


def plan(capsys, path="config.yaml", within=5.0):
    """Runs ``plan`` here and returns its message."""
    start = time.monotonic()
    status = command_status(["plan", "--no-cost", "--experiment", str(path)])
    seconds, printed = time.monotonic() - start, capsys.readouterr()
    assert "Traceback" not in printed.err, printed.err
    assert status == 2, printed.err
    assert printed.out == ""
    assert printed.err.count("error: ") == 1
    assert str(path) in printed.err
    assert len(printed.err) < 5000
    assert seconds < within
    assert not Path("results").exists()
    return printed.err


def grid(text):
    """An experiment whose only grid has these lines instead of its own."""
    return f"{HEAD}grids:\n- name: main\n  dataset: digits\n  loss: clce\n  {text}\n"


AXES = ["lambda", "seed", "split_seed", "batch_size"]
TEN = ", ".join(map(str, range(10, 20)))
PRODUCT = (
    f"{HEAD}grids: [{{name: main, dataset: digits, loss: {{name: clce, temperature: [{TEN}], beta: [{TEN}]}}, "
    f"seed: [{TEN}], split_seed: [{TEN}], batch_size: [{TEN}], recipe: {{epochs: [{TEN}], warmup: [0, 0.1, 0.2, 0.3, "
    "0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}}]\n"
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{other}'] * 10)}]\n" for other, one in zip("abcdefgh", "bcdefghi", strict=True)
)
SEARCH = "tuning: {trials: %s, space: {clce: {%s}}}"

FILES = {
    # Not text, not YAML, or not what it looks like.
    "UTF-16": (grid("seed: 1").encode("utf-16"), "not UTF-8"),
    "Latin-1": ("name: für".encode("latin-1"), "not UTF-8 (byte 8); save it as UTF-8"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "not UTF-8"),
    "zeros": (bytes(100), "not YAML"),
    "control characters": (b"name: \x07", "not YAML"),
    "too long": (b"# " + b"x" * 300_000, "has 300,002 bytes; allowed: at most 200,000"),
    "nested lists": ("[" * 5000 + "]" * 5000, "nested too deeply"),
    "nested mappings": ("{a: " * 5000 + "1" + "}" * 5000, "nested too deeply"),
    "nested blocks": ("".join(" " * n + "a:\n" for n in range(600)), "nested too deeply"),
    "bomb of aliases": (BOMB + grid("seed: 1"), "values or more; allowed: at most 100,000"),
    "bomb of merges": (BOMB.replace("[", "{k: [").replace("]", "]}"), "values or more; allowed"),
    "cycle": (grid("seed: &a [1, *a]"), "line 7: an alias leads into itself"),
    "cycle of mappings": (HEAD + "grids: &g\n- name: main\n  recipe: {a: *g}\n", "an alias leads into itself"),
    "cyclic where": (HEAD + "where: &w {loss: [*w]}\n", "an alias leads into itself"),
    "unknown tag": ("a: !!python/object/apply:os.system ['true']", "not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not YAML"),
    "a list as key": ("? [a, b]\n: 1\n", "not YAML"),
    "a number of 5,000 digits": (grid("seed: " + "9" * 5000), "not YAML"),
    "no number": (grid("seed: !!int one"), "not YAML"),
    "a text": ("name", "an experiment is a mapping of keys; found str"),
    "nothing": ("", "found NoneType"),
    # What YAML reads otherwise than people.
    "a key twice": (grid("seed: 1\n  seed: 2"), "line 8: 'seed' is there twice, first in line 7; keep one"),
    "a grid's loss twice": (grid("loss: ce"), "'loss' is there twice"),
    "a key of the file twice": (grid("seed: 1") + "name: y\n", "'name' is there twice, first in line 1"),
    "an inner key twice": (grid("recipe: {epochs: 1, epochs: 2}"), "'epochs' is there twice"),
    "octal": (grid("seed: 017"), "line 7: 017 can be misread; write a number in decimal digits, or quote it"),
    "zeros before": (grid("batch_size: [64, 0064]"), "0064 can be misread"),
    "binary": (grid("seed: 0b11"), "0b11 can be misread"),
    "hexadecimal": (grid("seed: 0x10"), "0x10 can be misread"),
    "minutes": (grid("seed: 1:30"), "1:30 can be misread"),
    "seconds": (grid("recipe: {learning_rate: 1:30.5}"), "1:30.5 can be misread"),
    "yes": (grid("recipe: {equal_compute: yes}"), "yes can be misread; write true or false, or quote it"),
    "off": (grid("seed: off"), "off can be misread"),
    "no": ("name: no\n", "no can be misread"),
    "a date": (HEAD.replace("x", "2026-01-01"), "2026-01-01 can be misread; quote it"),
    "true for a number": (grid("lambda: true"), "grids[0]: lambda: true and false are not allowed. Input should be a"),
    "true among numbers": (grid("seed: [0, true]"), "grids[0]: seed: true and false are not allowed"),
    "true in a range": (grid(SEARCH % (4, "temperature: {low: true, high: 2}")), "low: true and false are not allowed"),
    "true for micro-batches": (
        grid("seed: 1") + "runtime: {micro_batch: true}\n",
        "micro_batch: true and false are not",
    ),
    "true for a temperature": (grid("seed: 1") + "losses: {clce: {temperature: true}}\n", "temperature: True is not"),
    # Nothing where something is meant.
    "no temperature": (
        grid("recipe: {}").replace("clce", "{name: clce, temperature: []}"),
        "temperature: an empty list",
    ),
    "no beta": (grid("seed: 1") + "losses: {hcl: {beta: []}}\n", "beta: an empty list is not allowed"),
    "no learning rate": (grid("recipe: {learning_rate: []}"), "learning_rate: an empty list is not allowed"),
    "no epochs": (grid("seed: 1") + "datasets: {digits: {recipe: {epochs: []}}}\n", "epochs: an empty list"),
    "no seed": (grid("seed: []"), "seed: [] is not allowed"),
    "no where": (
        grid("seed: 1").replace("figures: []", "figures: [{kind: differences, grid: main, where: {loss: []}}]"),
        "where.loss: [] is not allowed",
    ),
    "null": (grid("lambda: [null]"), "grids[0].lambda[0]: None is not allowed"),
    "null temperature": (grid("seed: 1") + "losses: {clce: {temperature: null}}\n", "temperature: None is not allowed"),
    "null recipe": (grid("recipe: {epochs: null}"), "recipe: epochs: give a number, or steps"),
    # Values of another kind.
    "a preset in a list": (grid("recipe: {preset: [x]}"), "is not a recipe"),
    "a preset in a mapping": (grid("seed: 1") + "recipe: {preset: {a: 1}}\n", "is not a recipe"),
    "a claim in a list": (grid("seed: 1") + "claims: [{id: [a]}]\n", "is not a claim of the papers"),
    "a range of epochs": (grid(SEARCH % (4, "recipe.epochs: {low: 1, high: 3}")), "give a list of values"),
    "a range of views": (grid(SEARCH % (4, "recipe.views: {low: 1, high: 3}")), "give a list of values"),
    "a range of nothing": (grid(SEARCH % (4, "recipe.precision: {low: 1, high: 3}")), "recipe"),
    "a range of texts": (grid(SEARCH % (4, "temperature: {low: a, high: b}")), "temperature.low: 'a' is not allowed"),
    "a searched λ of texts": (grid(SEARCH % (4, "lambda: [a, b]")), "lambda"),
    "not a number": (grid("lambda: .nan"), "lambda"),
    "infinite": (grid("recipe: {learning_rate: .inf}"), "learning_rate: inf is not allowed"),
    "infinite temperature": (grid("seed: 1") + "losses: {clce: {temperature: 1e999}}\n", "temperature: inf"),
    "a list of lists": (grid("loss: [[clce]]").replace("  loss: clce\n", ""), "grids[0].loss[0]"),
    "a mapping for a list": (grid("seed: {a: 1}"), "grids[0].seed"),
    "keys that are numbers": (grid("1: 2"), "'1' is not a key"),
    "micro-batches": (grid("seed: 1") + "runtime: {micro_batch: many}\n", "runtime.micro_batch: 'many' is not allowed"),
    "a data set in a list": (grid("seed: 1").replace("digits", "[[digits]]"), "grids[0].dataset[0]"),
    "a long value": (grid("seed: " + "x" * 10_000), "… "),
    "many mistakes": (grid("seed: [" + "x, " * 1000 + "]"), "and 980 more mistakes"),
    "a loss in capitals": (grid("seed: 1").replace("clce", "SCHaNe"), "'SCHaNe' is not a loss. Did you mean 'schane'?"),
    "no store": (grid("seed: 1") + "tracking: {uri: ''}\n", "tracking.uri: '' is not allowed. Allowed: sqlite:///FILE"),
    "a folder as store": (grid("seed: 1") + "tracking: {uri: mlruns}\n", "tracking.uri: 'mlruns' is not allowed"),
    "a store by FTP": (grid("seed: 1") + "tracking: {uri: 'ftp://x'}\n", "tracking.uri: 'ftp://x' is not allowed"),
    "weights by HTTP": (
        grid("seed: 1") + "backbone: {weights: 'https://x/y.pth'}\n",
        "https://x/y.pth: there is no such",
    ),
    # Too much.
    "a seed that no table holds": (grid(f"seed: {2**63}"), "seed: 9223372036854775808 is not allowed"),
    "a negative seed": (grid("split_seed: -1"), "split_seed: -1 is not allowed"),
    "a product": (PRODUCT, "grids: main: asks for 10,000,000 cells; allowed: at most 100,000"),
    "a product of seeds": (
        grid(f"seed: [{', '.join(map(str, range(400)))}]\n  split_seed: [{', '.join(map(str, range(400)))}]"),
        "asks for 160,000 cells",
    ),
    "trials": (grid(SEARCH % (100_000, "temperature: {low: 0.1, high: 1}")), "trials: 100000 is not allowed"),
    "trials of seeds": (
        grid(f"seed: [{', '.join(map(str, range(200)))}]\n  " + SEARCH % (1000, "temperature: {low: 0.1, high: 1}")),
        "asks for 200,000 cells",
    ),
    # Names and paths.
    "an unknown user": (grid("seed: 1").replace("digits", "folder:~nouser/x"), "folder:~nouser/x: "),
    "no path": (grid("seed: 1").replace("digits", "'folder:'"), "the path of the folder is missing"),
    "a long path": (grid("seed: 1").replace("digits", "folder:" + "x" * 300), "folder:xxx"),
    "a path with a zero": (grid("seed: 1").replace("digits", '"folder:a\\0b"'), "folder:a"),
    "everything": (grid("seed: 1").replace("digits", "folder:/"), "folder:/: holds the working directory"),
    "here": (grid("seed: 1").replace("digits", "folder:."), "folder:.: holds the working directory"),
    "above": (grid("seed: 1").replace("digits", "folder:.."), "folder:..: holds the working directory"),
    "processes": (grid("seed: 1").replace("digits", "folder:/proc"), "folder:/proc: "),
    "devices": (grid("seed: 1").replace("digits", "folder:/dev"), "folder:/dev: "),
    "a file as folder": (grid("seed: 1").replace("digits", "folder:config.yaml"), "there is no such folder"),
    "a long name": (grid("seed: 1").replace("name: x", "name: " + "x" * 300), "name"),
    "weights": (grid("seed: 1") + "backbone: {weights: /dev/zero}\n", "backbone.weights: /dev/zero"),
    "weights in a folder": (grid("seed: 1") + "backbone: {weights: .}\n", "backbone.weights"),
    "weights of a long name": (grid("seed: 1") + f"backbone: {{weights: {'x' * 300}.pth}}\n", "backbone.weights"),
    "no weights": (grid("seed: 1") + "backbone: {weights: ''}\n", "backbone.weights"),
    "no such grid": (grid("tuned_by: other"), "'other' is not a grid that searches: there is none."),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_get_one_message(name, capsys):
    content, expected = FILES[name]
    Path("config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    within = 2.0 if name.startswith(("a product", "bomb", "trials")) else 5.0
    assert expected in plan(capsys, within=within)


@pytest.mark.parametrize("kept", [0, 5000, -1])
def test_weights_that_were_cut_off_are_found_before_anything_runs(kept, capsys):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("weights/data.pkl", os.urandom(9000))
    Path("weights.pth").write_bytes(whole.getvalue()[:kept])
    Path("config.yaml").write_text(grid("seed: 1") + "backbone: {weights: weights.pth}\n")
    assert f"backbone.weights: weights.pth: {'was cut off' if kept else 'is empty'}. Get the file again." in plan(
        capsys
    )
    Path("weights.pth").write_bytes(whole.getvalue())
    assert command_status(["plan", "--no-cost"]) == 0


def test_a_path_that_is_no_file_is_not_opened(capsys):
    Path("folder.yaml").mkdir()
    os.mkfifo("pipe.yaml")
    Path("link.yaml").symlink_to("nothing")
    Path("loop.yaml").symlink_to("loop.yaml")
    for path in (
        "folder.yaml",
        "pipe.yaml",
        "link.yaml",
        "loop.yaml",
        "/dev/zero",
        "/dev/null",
        "x" * 300,
        "/".join("a" * 1000),
    ):
        plan(capsys, path)
    assert "this is a folder or a device" in plan(capsys, "/dev/zero")
    assert command_status(["plan", "--experiment", ""]) == 2
    capsys.readouterr()


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(str(path))).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)


SPOILED = {
    "a dangling link": (
        lambda folder: (folder / "9.png").symlink_to("nothing"),
        "a/9.png is a link that leads nowhere",
    ),
    "a loop": (lambda folder: (folder / "9.png").symlink_to("9.png"), "a/9.png"),
    "a pipe": (lambda folder: os.mkfifo(folder / "9.png"), "a/9.png is not a file"),
    "a device": (lambda folder: (folder / "9.png").symlink_to("/dev/zero"), "a/9.png is not a file"),
    "a name in Latin-1": (lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).touch(), "is not UTF-8"),
    "a folder in Latin-1": (lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xe9")).mkdir(), "is not UTF-8"),
    "a class in Latin-1": (
        lambda folder: draw(Path(os.fsdecode(os.fsencode(folder) + b"\xe9"), "1.png")),
        "is not UTF-8",
    ),
    "a link to everything": (
        lambda folder: (folder / "all").symlink_to("/"),
        "is a link to a folder that is read anyway",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_folders_get_one_message(name, capsys):
    for label in "ab":
        for number in range(4):
            draw(Path("photos", label, f"{number}.png"))
    spoil, expected = SPOILED[name]
    spoil(Path("photos/a"))
    Path("config.yaml").write_text(grid("batch_size: 2").replace("digits", "folder:photos"))
    assert expected in plan(capsys)


def test_a_folder_nested_very_deeply_is_read(capsys):
    Path("config.yaml").write_text(grid("batch_size: 2").replace("digits", "folder:photos"))
    for label in "ab":
        for number in range(4):
            draw(Path("photos", label, f"{number}.png"))
    home = Path.cwd()
    os.chdir("photos/a")
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(home)
    status = command_status(["plan", "--no-cost"])
    subprocess.run(["rm", "-rf", "photos"], check=True)  # Python's own removal, and so pytest's, recurses too deeply.
    assert status == 0


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        OSError(5, "Input/output error"),
        OSError(107, "Transport endpoint is not connected"),
    ],
)
def test_a_folder_that_cannot_be_read_is_named(error, capsys, monkeypatch):
    def refused(path):
        raise type(error)(error.errno, error.strerror, str(path))

    for label in "ab":
        for number in range(4):
            draw(Path("photos", label, f"{number}.png"))
    Path("config.yaml").write_text(grid("batch_size: 2").replace("digits", "folder:photos"))
    monkeypatch.setattr("clce_bench.data.sources.folder.os.scandir", refused)
    assert f"folder:photos: cannot be read: photos: {error.strerror}" in plan(capsys)


VALID = yaml.safe_load((ROOT / "tests" / "helpers" / "miniature.yaml").read_text())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=8) | st.just("~x/y"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def places(node, path=()):
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def changed(node, path, value):
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = changed(node[path[0]], path[1:], value)
    return copy


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(places(VALID))), VALUES)
def test_whatever_stands_in_a_file_there_is_no_traceback(capsys, path, value):
    Path("config.yaml").write_text(yaml.safe_dump(changed(VALID, path, value)))
    start = time.process_time()
    status = command_status(["plan", "--no-cost"])
    printed = capsys.readouterr().err
    assert status in (0, 2), printed
    assert (status == 2) == printed.startswith("error: config.yaml")
    assert time.process_time() - start < 5


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(alphabet="[]{}:,-&*!|>'\"%@`#? \n\tab0.~<", max_size=40).map(str.encode))
def test_whatever_bytes_a_file_has_there_is_one_message(capsys, content):
    Path("config.yaml").write_bytes(content)
    plan(capsys)


def test_two_experiments_do_not_share_a_name(capsys):
    for path in ("config.yaml", "other.yaml", "third.yaml"):
        Path(path).write_text(grid("seed: 1"))
    from clce_bench.planning.plan import load_plan

    load_plan(Path("config.yaml")).prepare()
    assert command_status(["plan", "--no-cost"]) == 0
    for verb in (["plan", "--no-cost"], ["status"], ["track"], ["report", "--output", "x.html"]):
        capsys.readouterr()
        assert command_status([*verb, "--experiment", "other.yaml"]) == 2
        message = capsys.readouterr().err
        assert message.startswith(
            "error: other.yaml: name: 'x' is the name of config.yaml too, whose report and runs are"
        )
    # The checked experiment beside the results, a copy elsewhere and a file that was renamed are no others.
    settings_file = Path("results/experiments/x/experiment.json")
    for path in (settings_file, settings_file.resolve()):
        assert command_status(["plan", "--no-cost", "--experiment", str(path)]) == 0
    assert command_status(["plan", "--no-cost", "--experiment", str(Path("config.yaml").resolve())]) == 0
    shutil.copytree(Path.cwd(), Path.cwd().with_name("copy"))
    os.chdir(Path.cwd().with_name("copy"))
    assert command_status(["plan", "--no-cost"]) == 0
    Path("config.yaml").rename("renamed.yaml")
    assert command_status(["plan", "--no-cost", "--experiment", "renamed.yaml"]) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--configfile", "a b.yaml"], "a b.yaml: line 7: 017 can be misread"),
        (["--configfile", "a b.yaml", "config.yaml"], "config.yaml: give one experiment file; they are not merged."),
        (["--config", "name=y"], "error: --config: name is not allowed; write it into the experiment file."),
    ],
)
def test_snakemake_reads_the_file_as_strictly(arguments, expected):
    Path("a b.yaml").write_text(grid("seed: 017"))
    Path("config.yaml").write_text(grid("seed: 1"))
    command = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    done = python(*command, *arguments)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
