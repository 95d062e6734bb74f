import ast
import shutil
import time
from functools import cache

import pytest

from clce_bench.records.environment import environment
from clce_bench.records.fingerprints import fingerprint, is_local
from tests.helpers.interpreters import python
from tests.helpers.miniature import ROOT

LOSSES = {name: f"clce_bench.losses.{name}:X" for name in ("clce", "tcl", "supcon")}

CODE = """
import sys
import time
sys.path.insert(0, {root!r})
from clce_bench.records.fingerprints import VERBS, fingerprint
for verb in VERBS:
    print(verb, fingerprint(verb))
for loss in {losses!r}.values():
    print(loss, fingerprint("train", loss))
"""


def fingerprints(root, **more):
    code = CODE.format(root=str(root), losses={**LOSSES, **more})
    printed = python("-c", code, cwd=root)
    assert printed.returncode == 0, printed.stderr
    return dict(line.split() for line in printed.stdout.splitlines())


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "clce_bench", tmp_path / "clce_bench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@cache
def usual(**more):
    return fingerprints(ROOT, **more)


def changed(copy, file, old, new, **more):
    """Names whose fingerprint is another one than here once ``old`` is ``new`` in a file of the package."""
    path = copy / "clce_bench" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    after = fingerprints(copy, **more)
    return {name for name, own in usual(**more).items() if own != after[name]}


def test_comments_docstrings_and_layout_do_not_count(copy):
    old = '        """Returns the loss of each anchor, (anchors,)."""\n        tau'
    assert not changed(copy, "losses/tcl.py", old, '        """Other words."""\n\n        # A comment.\n        tau')


def test_a_loss_concerns_its_own_cells_only(copy):
    assert changed(copy, "losses/tcl.py", "k1: float = 5000.0", "k1: float = 4000.0") == {LOSSES["tcl"]}


def test_the_shared_core_concerns_all_contrastive_training_and_no_cross_entropy(copy):
    assert changed(copy, "losses/tiles.py", "NEG_INF = -1e9", "NEG_INF = -1e8") == set(LOSSES.values())


def test_the_report_and_tracking_concern_no_training(copy):
    assert changed(copy, "report/page.py", "[:16]", "[:15]") == {"report"}
    assert changed(copy, "tracking/mlflow_store.py", "max_results=1000", "max_results=999") == {"report", "track"}


def test_how_losses_and_metrics_are_called_concerns_what_is_shown(copy):
    found = changed(copy, "labels.py", '"balanced_top1", ', "")
    assert found == {"summarize", "figures", "report", "track"}


def test_the_template_belongs_to_the_report(copy):
    assert changed(copy, "report/page.html", "<p>No results yet.</p>", "<p>No results.</p>") == {"report"}


def test_a_users_loss_depends_on_what_it_builds_on(copy):
    (copy / "mine.py").write_text("from clce_bench.losses.tcl import TCL\nclass Mine(TCL): ...\n")
    before = fingerprints(copy, mine="mine:Mine")["mine:Mine"]
    path = copy / "clce_bench/losses/tcl.py"
    path.write_text(path.read_text().replace("k1: float = 5000.0", "k1: float = 4000.0"))
    changed_base = fingerprints(copy, mine="mine:Mine")["mine:Mine"]
    (copy / "mine.py").write_text("from clce_bench.losses.tcl import TCL\nclass Mine(TCL): x = 1\n")
    assert len({before, changed_base, fingerprints(copy, mine="mine:Mine")["mine:Mine"]}) == 3


def test_what_describes_jobs_is_in_the_jobs_themselves(copy):
    assert not changed(
        copy,
        "experiment/dataset_options.py",
        "count: Annotated[int, Field(ge=2)] = 1000",
        "count: Annotated[int, Field(ge=2)] = 99",
    )


def test_this_checkout_has_one_fingerprint_per_process():
    assert fingerprint("train", LOSSES["tcl"]) == usual()[LOSSES["tcl"]]


def test_environment_names_machine_and_packages():
    found = environment()
    assert found["packages"]["torch"]
    assert found["cores"] >= 1
    assert found["cpu"]


def test_class_lists_concern_the_data_sets_that_read_them(copy):
    families = {
        "cifar": "clce_bench.data.sources.cifar:CIFAR_FS",
        "imagenet": "clce_bench.data.sources.imagenet:TIEREDIMAGENET",
    }
    found = changed(copy, "data/sources/imagenet.json", "n01530575", "n01531178", **families)
    assert found == {families["imagenet"]}


def test_a_users_loss_depends_on_its_own_modules_but_not_on_installed_ones(copy):
    package = copy / "my_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("import numpy\nSCALE = 1\n")
    (package / "other.py").write_text("SCALE = 1\n")
    (package / "mine.py").write_text("from . import helper\nclass Mine: ...\n")
    more = {"mine": "my_pkg.mine:Mine"}
    before = fingerprints(copy, **more)[more["mine"]]
    (package / "other.py").write_text("SCALE = 2\n")
    assert fingerprints(copy, **more)[more["mine"]] == before
    (package / "helper.py").write_text("import numpy\nSCALE = 2\n")
    assert fingerprints(copy, **more)[more["mine"]] != before


def test_modules_are_imported_by_name_in_the_registry_only():
    # What is imported by a computed name is in no fingerprint.
    dynamic = {"import_module", "__import__", "exec", "eval", "run_path", "run_module", "exec_module"}
    found = set()
    for path in (ROOT / "clce_bench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
                own = isinstance(node.func, ast.Attribute) and name in ("eval", "exec")  # A model's own eval().
                if name in dynamic and not own:
                    found.add(path.relative_to(ROOT / "clce_bench").as_posix())
    # The package itself offers what lies in the room above all jobs, which no job imports.
    # Verbs of the command line find theirs, which no job imports either.
    assert found == {"__init__.py", "cli/commands.py", "components/registry.py", "execution/worker_process.py"}


def test_ten_thousand_cells_have_their_fingerprints_in_less_than_a_second():
    fingerprint("train", LOSSES["clce"])
    start = time.perf_counter()
    for number in range(10_000):
        fingerprint("train", LOSSES[("clce", "tcl", "supcon")[number % 3]])
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages", "own"])
def test_packages_of_another_environment_that_this_one_sees_are_installed_ones(tmp_path, monkeypatch, folder):
    """As with the system's packages, or the user's."""
    name = f"seen_{folder.replace('-', '_')}"
    (tmp_path / folder / name).mkdir(parents=True)
    (tmp_path / folder / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / folder)
    assert is_local(name) == (folder == "own")
