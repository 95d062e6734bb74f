"""Losses of the user's own and of libraries: found by path, checked before anything runs."""

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss

from clce_bench.components.hyperparameters import hyperparameters_of
from clce_bench.errors import UserError
from clce_bench.experiment.cells import cells_of, union
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
