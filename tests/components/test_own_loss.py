"""Losses of the user's own and of libraries: found by path, checked before anything runs."""

import sys

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss

from clce_bench.components.hyperparameters import hyperparameters_of
from clce_bench.components.registry import load_dataset
from clce_bench.errors import UserError
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.planning.plan import plan_of
from clce_bench.training.contrastive_loss import contrastive_loss

LIBRARY = "pytorch_metric_learning.losses:TripletMarginLoss"


def cell(loss):
    grid = {"name": "main", "dataset": "digits", "loss": loss, "lambda": 0.5}
    return union(cells_of(parse_experiment({"name": "test", "grids": [grid]}, "test.yaml")))[0]


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Writes the body of a loss to a module that nothing else is called."""
    monkeypatch.syspath_prepend(tmp_path)
    name = "own_" + "".join(c if c.isalnum() else "_" for c in request.node.name)

    def write(body, base="torch.nn.Module", head=""):
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (tmp_path / f"{name}.py").write_text(f"import torch\n{head}\n\nclass Mine({base}):\n{lines}\n")
        return f"{name}:Mine"

    return write


def test_a_loss_of_a_library_is_found_where_it_is_exported_and_computes_what_it_does():
    found = hyperparameters_of(LIBRARY)
    assert found == {"margin": 0.05, "swap": False, "smooth_loss": False, "triplets_per_anchor": "all"}
    loss = contrastive_loss(cell({"name": LIBRARY, "margin": 0.3}))
    embeddings = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 3
    assert loss(embeddings, labels) == TripletMarginLoss(margin=0.3)(embeddings, labels) > 0
    with pytest.raises(UserError, match="'margn' is not a key of .* Did you mean 'margin'"):
        cell({"name": LIBRARY, "margn": 0.3})


@pytest.mark.parametrize(
    "forward",
    [
        "def forward(self, embeddings, labels): ...",
        "def forward(self, embeddings, labels, mask=None): ...",
        "def forward(self, embeddings, /, *rest): ...",
        "def forward(self, embeddings, labels=None, *, scale=1.0): ...",
    ],
)
def test_a_loss_that_can_be_called_with_embeddings_and_labels_is_taken(module, forward):
    assert cell(module(forward)).loss_name.endswith(":Mine")


@pytest.mark.parametrize(
    ("forward", "shown"),
    [
        ("def forward(self, embeddings): ...", r"forward\(self, embeddings\) is not allowed"),
        ("def forward(self, one, two, three): ...", r"forward\(self, one, two, three\) is not allowed"),
        ("def forward(self, rows, labels, *, mask): ...", r"forward\(self, rows, labels, \*, mask\) is not allowed"),
    ],
)
def test_a_wrong_signature_is_refused_when_the_file_is_read(module, forward, shown):
    with pytest.raises(UserError, match=rf"grids\[0\].loss: .*{shown}. Expected: forward\(self, embeddings, labels\)"):
        cell(module(forward))


def test_a_file_that_is_not_python_is_named_with_its_line(module):
    with pytest.raises(UserError, match=r"own_.*\.py: line 5: not Python: "):
        cell(module("def forward(self, embeddings, labels) return 0"))


def test_a_loss_on_the_core_needs_the_cores_signature_and_inherits_what_it_does_not_say(module):
    head = "from clce_bench.losses.tcl import TCL"
    with pytest.raises(UserError, match=r"per_anchor\(self, s, labels\) is not allowed. Expected: per_anchor\(self, p"):
        cell(module("def per_anchor(self, s, labels): ...", "TCL", head))
    own = cell(module("self_supervised = True", "TCL", head))
    assert {key: own.loss.hyperparameters[key] for key in ("temperature", "k1", "k2")} == {
        "temperature": 0.1,
        "k1": 5000,
        "k2": 1,
    }
    assert own.self_supervised


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            "(embeddings ** 2).sum(1)",
            r"it returned a tensor of shape \(4,\). Expected: a scalar tensor with a gradient",
        ),
        ("embeddings.detach().sum()", r"it returned a tensor of shape \(\) without a gradient"),
        ("3.0", "it returned 3.0. Expected: a scalar tensor"),
    ],
)
def test_what_is_no_loss_is_refused_before_training(module, result, message):
    path = module(f"def forward(self, embeddings, labels): return {result}")
    assert plan_of(parse_experiment({"name": "t", "grids": [{"name": "m", "dataset": "digits", "loss": path}]}, ""))
    with pytest.raises(UserError, match=message):
        contrastive_loss(cell(path))


def test_trying_a_loss_leaves_it_and_the_random_numbers_as_they_were(module):
    path = module(
        "def __init__(self):\n    super().__init__()\n    self.calls = 0\n"
        "def forward(self, embeddings, labels):\n    self.calls += 1\n    return torch.rand(()) * embeddings.sum()"
    )
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert contrastive_loss(cell(path)).calls == 0
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("head", "body", "shown"),
    [
        (
            "raise RuntimeError('no licence')",
            "pass",
            r"importing it failed: RuntimeError: no licence \(.*\.py, line 2\)",
        ),
        ("import sys; sys.exit(3)", "pass", "importing it failed: SystemExit: 3"),
        (
            "import no_such_package",
            "pass",
            "importing it failed: ModuleNotFoundError: No module named 'no_such_package'",
        ),
        ("1 / 0", "pass", "importing it failed: ZeroDivisionError"),
        ("", "def __init__(self): raise KeyError('weights')", "making it failed: KeyError: 'weights'"),
        ("", "def __init__(self): raise SystemExit(0)", "making it failed: SystemExit: 0"),
    ],
)
def test_a_loss_that_fails_when_it_is_imported_or_made_gets_one_message(module, head, body, shown):
    path = module(body, head=head)
    with pytest.raises(UserError, match=shown):
        contrastive_loss(cell(path))


@pytest.mark.parametrize("default", ["1e999", "-1e999", "[1e999]", "{1, 2}", "2j", "b'x'", "print"])
def test_a_default_that_no_file_can_hold_is_refused_by_name(module, default):
    path = module(f"def __init__(self, margin={default}): super().__init__()")
    with pytest.raises(UserError, match=r"the default margin=.* is not allowed. Defaults .* are plain, finite numbers"):
        cell(path)


def test_classes_and_imports_that_lead_to_themselves_end(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_ring_a.py").write_text(
        "from own_ring_b import Mine\nclass Pair(Other): pass\nclass Other(Pair): pass\n"
    )
    (tmp_path / "own_ring_b.py").write_text("from own_ring_a import Mine\n")
    with pytest.raises(UserError, match="'Mine' is not a class in .*own_ring_a.py"):
        cell("own_ring_b:Mine")
    cell("own_ring_a:Pair")
    (tmp_path / "own_self.py").write_text("class Mine(Mine): pass\n")
    with pytest.raises(UserError, match="own_self: importing it failed: NameError: name 'Mine' is not defined"):
        contrastive_loss(cell("own_self:Mine"))


def test_a_loss_may_be_called_as_what_it_builds_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_tcl.py").write_text("from clce_bench.losses import TCL\nclass TCL(TCL): pass\n")
    assert hyperparameters_of("own_tcl:TCL") == {"temperature": 0.1, "k1": 5000.0, "k2": 1.0}


@pytest.mark.parametrize("text", ["x = '\0'", "class Mine(\n", "(" * 5000, "\udcff"])
def test_a_file_that_python_cannot_read_is_named(tmp_path, monkeypatch, text):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_damaged.py").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"own_damaged\.py: .*not Python"):
        cell("own_damaged:Mine")


@pytest.mark.parametrize("found", ["print", "object()", "type('Half', (), {'train_images': 1})()", "3", "None"])
def test_what_is_no_data_set_is_called_that(tmp_path, monkeypatch, found):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_data.py").write_text(f"MINE = {found}\n")
    monkeypatch.delitem(sys.modules, "own_data", raising=False)
    with pytest.raises(UserError, match="own_data:MINE: there is no Dataset called 'MINE'"):
        load_dataset("own_data:MINE")


def test_a_data_set_that_ends_the_process_gets_one_message(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_exit.py").write_text("raise SystemExit(5)\n")
    with pytest.raises(UserError, match="own_exit: importing it failed: SystemExit: 5"):
        load_dataset("own_exit:MINE")
