"""Every loss against a loop over pairs in plain Python floats, written from the papers' formulas."""

import copy
import multiprocessing
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss

from clce_bench.errors import UserError
from clce_bench.losses import ContrastiveLoss, FusedLoss, core, create_loss, tiles
from clce_bench.losses.pairs import DensePairs, P
from clce_bench.machine import peak_memory
from tests.losses.references import CASES, loop, make, random_embeddings, random_labels

batches = st.lists(st.integers(0, 3), min_size=1, max_size=12)
temperatures = st.floats(0.05, 2.0)


def dense(loss, embeddings, labels):
    """The loss from a whole similarity matrix, differentiated by autograd."""
    rows = torch.nn.functional.normalize(embeddings)
    pairs = DensePairs(rows @ rows.T, labels)
    has_positive = pairs.count(P) > 0
    return torch.where(has_positive, loss.per_anchor(pairs), 0.0).sum() / has_positive.sum().clamp(min=1)


def value_and_gradient(function, embeddings, labels):
    embeddings = embeddings.clone().requires_grad_()
    value = function(embeddings, labels)
    value.backward()
    return value.detach(), embeddings.grad


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles so small that a batch of a test has many, of every kind."""
    monkeypatch.setitem(core.DENSE_ROWS, "cpu", 0)
    monkeypatch.setitem(tiles.TILE, "cpu", 7)


@pytest.fixture(params=["one matrix", "tiles"])
def either_way(request):
    """What small batches are computed by, and what large ones are."""
    if request.param == "tiles":
        request.getfixturevalue("small_tiles")


@pytest.mark.parametrize("case", CASES)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=batches, tau=temperatures, a=st.floats(0, 2), b=st.floats(0, 3), seed=st.integers(0, 100))
def test_loss_equals_the_loop(either_way, case, labels, tau, a, b, seed):
    hyperparameters, reference = (of(tau, a, b) for of in CASES[case])
    embeddings = random_embeddings(len(labels), seed)
    loss = create_loss(case.split()[0], **hyperparameters)
    value = loss(embeddings, torch.tensor(labels))
    assert value.item() == pytest.approx(loop(embeddings, labels, reference), rel=1e-9, abs=1e-9)
    loss.reduction = "none"
    each = loss(embeddings, torch.tensor(labels))
    counted = [labels.count(label) > 1 for label in labels]
    assert each.shape == (len(labels),)
    assert not each[~torch.tensor(counted)].any()
    assert each.sum().item() == pytest.approx(value.item() * sum(counted), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("rows", "classes", "temperature"),
    [(90, 2, 0.005), (90, 2, 10), (100, 60, 0.05), (64, 5, 0.005), (64, 5, 0.5), (50, 1, 10)],
)
def test_many_tiles_equal_the_dense_formula(small_tiles, case, temperature, rows, classes):
    embeddings, labels = random_embeddings(rows, 8, dimensions=16), random_labels(rows, classes)
    loss = make(case, temperature=temperature)
    value, gradient = value_and_gradient(loss, embeddings, labels)
    expected, expected_gradient = value_and_gradient(lambda *batch: dense(loss, *batch), embeddings, labels)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-9)
    value, gradient = value_and_gradient(loss, embeddings.float(), labels)
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-4)
    scale = expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-3, atol=1e-4 * scale + 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_value_per_row_keeps_the_order_of_the_rows(small_tiles, case):
    embeddings, labels = random_embeddings(40, 9), random_labels(40, 6)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    loss = make(case, reduction="none")
    torch.testing.assert_close(loss(embeddings, labels)[order], loss(embeddings[order], labels[order]))


def test_supcon_equals_pytorch_metric_learning():
    embeddings, labels = random_embeddings(64, 0).float(), torch.arange(64) % 8
    for temperature in (0.07, 0.5):
        ours, theirs = create_loss("supcon", temperature=temperature), SupConLoss(temperature=temperature)
        value, gradient = value_and_gradient(ours, embeddings, labels)
        expected, expected_gradient = value_and_gradient(theirs, embeddings, labels)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def equal_losses(one, other, labels):
    embeddings = random_embeddings(len(labels), 1)
    for result, expected in zip(*(value_and_gradient(loss, embeddings, labels) for loss in (one, other)), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)


def test_tcl_without_its_tuning_is_supcon():
    tuned = create_loss("tcl", temperature=0.2, k1=0.0, k2=1.0)
    equal_losses(tuned, create_loss("supcon", temperature=0.2), random_labels(32, 4))


def test_schane_and_lacln_agree_when_every_anchor_has_one_positive():
    equal_losses(create_loss("schane", beta=1.5), create_loss("clce", beta=1.5), torch.arange(20) // 2)


def test_sincere_is_supcon_when_every_anchor_has_one_positive():
    equal_losses(create_loss("sincere"), create_loss("supcon"), torch.arange(24) % 12)


def test_hcl_without_debiasing_is_schane():
    equal_losses(create_loss("hcl", tau_plus=0.0), create_loss("schane"), random_labels(32, 4))


def test_hcl_without_hardness_and_debiasing_is_ntxent_on_two_views():
    plain = create_loss("hcl", temperature=0.3, beta=0.0, tau_plus=0.0)
    equal_losses(plain, create_loss("ntxent", temperature=0.3), torch.arange(24) % 12)


def test_both_forms_of_supcon_agree_when_every_anchor_has_one_positive():
    inside = create_loss("supcon", positives="inside")
    equal_losses(inside, create_loss("supcon"), torch.arange(24) % 12)


@pytest.mark.parametrize("case", CASES)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=9),
    dimensions=st.sampled_from([2, 5, 2048]),
    tau=st.sampled_from([0.005, 0.02, 0.1, 1.0, 10.0]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
    kind=st.sampled_from(["random", "equal rows", "opposite rows", "a zero row", "zeros", "tiny", "huge"]),
)
def test_value_and_gradient_are_finite(either_way, case, labels, dimensions, tau, dtype, kind):
    embeddings = random_embeddings(len(labels), 2, dimensions)
    if kind in ("equal rows", "opposite rows"):
        embeddings = embeddings[:1].repeat(len(labels), 1)
    if kind == "opposite rows":
        embeddings[::2] *= -1
    if kind == "a zero row":
        embeddings[0] = 0
    limits = torch.finfo(dtype)
    # The gradient grows as rows shrink, and float16 ends at 65504.
    tiny = 0.1 if dtype == torch.float16 else 1e-11
    factor = {"zeros": 0.0, "tiny": tiny, "huge": limits.max / 10}.get(kind, 1.0)
    embeddings = (embeddings * factor).to(dtype).requires_grad_()
    value = make(case, temperature=tau)(embeddings, torch.tensor(labels))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(embeddings.grad).all()
    if len(set(labels)) == len(labels):
        assert value.item() == 0
        assert not embeddings.grad.any()


def test_numbers_that_are_not_finite_are_not_hidden():
    embeddings = random_embeddings(8, 2)
    embeddings[3, 0] = torch.nan
    assert not torch.isfinite(create_loss("clce")(embeddings, torch.arange(8) % 2))


@pytest.mark.parametrize("case", ["clce", "supcon"])
def test_anchors_of_a_large_batch_cost_what_their_formula_says(case):
    rows, sample = 16384, [0, 1, 10000, 16383]
    embeddings, labels = random_embeddings(rows, 11, dimensions=4), random_labels(rows, 1000)
    value = make(case, temperature=0.5, reduction="none")(embeddings.float(), labels)
    unit = torch.nn.functional.normalize(embeddings)
    reference = CASES[case][1](0.5, 1.0, 1.0)
    for anchor in sample:
        similar = unit @ unit[anchor]
        same = labels == labels[anchor]
        negatives = similar[~same].tolist()
        same[anchor] = False
        assert value[anchor].item() == pytest.approx(reference(similar[same].tolist(), negatives), rel=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_that_of_the_value(either_way, case):
    embeddings = random_embeddings(8, 3).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 0])
    loss = make(case, temperature=0.5)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, labels), embeddings)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_summed_in_single(either_way, case, dtype):
    embeddings, labels = random_embeddings(64, 4).to(dtype), torch.arange(64) % 8
    loss = make(case, temperature=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(embeddings, labels)
    assert value.item() == pytest.approx(loss(embeddings.double(), labels).item(), rel=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_a_plain_product_gives_the_gradient_of_the_function_that_replaces_it(monkeypatch, case):
    batch = random_embeddings(core.PLAIN_ROWS, 19), random_labels(core.PLAIN_ROWS, 10)
    loss = make(case, temperature=0.1)
    _, expected = value_and_gradient(loss, *batch)
    monkeypatch.setattr(core, "PLAIN_ROWS", 0)
    _, gradient = value_and_gradient(loss, *batch)
    assert not torch.equal(gradient, expected)
    assert (gradient - expected).norm() < 1e-12 * expected.norm()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [core.PLAIN_ROWS, core.PLAIN_ROWS + 8])
def test_backward_inside_autocast_is_computed_in_single(either_way, case, count):
    embeddings, labels = random_embeddings(count, 20, dimensions=16).float(), torch.arange(count) % 8
    loss = make(case, temperature=0.02)

    def inside(*batch):
        return loss(*batch)

    _, expected = value_and_gradient(inside, embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, gradient = value_and_gradient(inside, embeddings, labels)
    if count > core.PLAIN_ROWS:
        assert torch.equal(gradient, expected)
    assert (gradient - expected).norm() < 1e-6 * expected.norm()  # In half precision, 1e-2.


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("temperature", [0.02, 0.05])
def test_gradients_stay_exact_when_classes_are_far_apart(either_way, case, temperature):
    labels = torch.arange(32) % 4
    centres = random_embeddings(4, 21, dimensions=32)
    embeddings = centres[labels] + 0.1 * random_embeddings(32, 22, dimensions=32)
    loss = make(case, temperature=temperature)
    _, expected = value_and_gradient(loss, embeddings, labels)
    _, gradient = value_and_gradient(loss, embeddings.float(), labels)
    # Below 1e-30, float32 has no digits left for products of such numbers.
    assert (gradient.double() - expected).norm() < 1e-3 * expected.norm() + 1e-30


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.uint16])
def test_labels_may_be_integers_of_any_width(dtype):
    embeddings, labels, logits = random_embeddings(16, 23), torch.arange(16) % 4, random_embeddings(16, 24)
    for weight in (0.0, 0.5):
        fused = FusedLoss(create_loss("clce"), weight)
        assert fused(logits, embeddings, labels.to(dtype)) == fused(logits, embeddings, labels)


def test_an_empty_batch_costs_nothing(either_way):
    value, gradient = value_and_gradient(create_loss("clce"), torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64))
    assert value == 0
    assert gradient.shape == (0, 8)


def test_losses_survive_copying_and_say_what_they_are():
    embeddings, labels = random_embeddings(8, 25), torch.arange(8) % 2
    loss = create_loss("clce", temperature=0.3)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other(embeddings, labels) == loss(embeddings, labels)
    assert repr(loss) == "CLCE(reduction='mean', gather=False, temperature=0.3, beta=1.0)"


class Learnt(ContrastiveLoss):
    def __init__(self):
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.tensor(0.1))

    def per_anchor(self, pairs):
        return pairs.logsumexp((P, 1 / self.temperature))[0]


def test_a_temperature_that_is_to_be_learnt_is_refused():
    with pytest.raises(TypeError, match="a temperature cannot be learnt"):
        Learnt()(random_embeddings(8, 26), torch.arange(8) % 2)


@pytest.mark.parametrize("case", CASES)
def test_one_matrix_and_tiles_agree_where_one_takes_over_from_the_other(monkeypatch, case):
    embeddings, labels = random_embeddings(core.DENSE_ROWS["cpu"], 27).float(), random_labels(512, 40)
    loss = make(case)
    with_matrix = value_and_gradient(loss, embeddings, labels)
    monkeypatch.setitem(core.DENSE_ROWS, "cpu", 0)
    for result, expected in zip(value_and_gradient(loss, embeddings, labels), with_matrix, strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


def operators(loss, rows):
    """How often each operator runs in a forward and a backward pass."""
    embeddings, labels = random_embeddings(rows, 28, dimensions=2).float().requires_grad_(), random_labels(rows, 9)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        loss(embeddings, labels).backward()
    return {event.key: event.count for event in profile.key_averages() if event.key.startswith("aten::")}


@pytest.mark.parametrize("case", CASES)
def test_a_small_batch_takes_few_operators_however_many_rows_it_has(case):
    loss = make(case)
    few, more, many = (operators(loss, rows) for rows in (core.PLAIN_ROWS, core.PLAIN_ROWS + 1, 512))
    assert more == many
    assert (few["aten::mm"], many["aten::mm"]) == (3, 2)
    assert max(sum(few.values()), sum(many.values())) < 330


@pytest.mark.parametrize(("rows", "tile", "products"), [(513, 512, 3), (2048, 512, 10), (4200, None, 3)])
def test_tiles_are_as_many_as_their_size_says(monkeypatch, rows, tile, products):
    """Each product of the forward pass is one of the backward pass too, with one or two more for the gradient."""
    if tile is None:
        monkeypatch.setitem(tiles.TILE, "cpu", tiles.TILE["cuda"])
    assert tile in (None, tiles.TILE["cpu"])
    found = operators(create_loss("clce"), rows)
    blocks = -(-rows // tiles.TILE["cpu"])
    assert found["aten::mm"] == 2 * products
    assert found["aten::addmm_"] == 2 * products - blocks


def peak(rows):
    embeddings = torch.randn(rows, 8, requires_grad=True)
    create_loss("clce")(embeddings, torch.arange(rows) % 100).backward()
    return peak_memory()


def growth(sending):
    before = peak(1024)
    sending.send(peak(8192) - before)


def test_memory_does_not_grow_with_the_pairs():
    """One float32 matrix of all pairs would take 256 MiB."""
    context = multiprocessing.get_context("fork")  # Whatever earlier tests took is not counted in a process of its own.
    receiving, sending = context.Pipe()
    process = context.Process(target=growth, args=(sending,))
    process.start()
    grown = receiving.recv()
    process.join()
    assert grown / 2**20 < 60


def test_gradient_weights_of_supcon_are_its_softmax_less_the_share_of_each_positive():
    embeddings, labels = random_embeddings(20, 12), random_labels(20, 3)
    unit = torch.nn.functional.normalize(embeddings)
    eye = torch.eye(20, dtype=torch.bool)
    softmax = (unit @ unit.T / 0.2).masked_fill(eye, -torch.inf).softmax(dim=1)
    positive = (labels[:, None] == labels) & ~eye
    expected = (softmax - positive / positive.sum(dim=1, keepdim=True)) / 0.2
    torch.testing.assert_close(create_loss("supcon", temperature=0.2).gradient_weights(embeddings, labels), expected)


@pytest.mark.parametrize("case", CASES)
def test_gradient_weights_give_the_gradient(case):
    labels = random_labels(20, 4)
    unit = torch.nn.functional.normalize(random_embeddings(20, 13))
    loss = make(case)
    weights = loss.gradient_weights(unit, labels)
    _, gradient = value_and_gradient(lambda *batch: loss(*batch) * 20, unit, labels)
    along_the_sphere = (weights + weights.T) @ unit
    along_the_sphere -= (along_the_sphere * unit).sum(dim=1, keepdim=True) * unit
    torch.testing.assert_close(gradient, along_the_sphere)
    assert not weights.diagonal().any()


@pytest.mark.parametrize("case", CASES)
def test_functional_gradient_equals_backward(either_way, case):
    embeddings, labels = random_embeddings(16, 14), random_labels(16, 4)
    loss = make(case)
    functional = torch.func.grad(lambda rows: loss(rows, labels))(embeddings)
    torch.testing.assert_close(functional, value_and_gradient(loss, embeddings, labels)[1])


@pytest.mark.parametrize(
    ("either_way", "case"), [("one matrix", "clce"), ("tiles", "sincere")], indirect=["either_way"]
)
def test_compiled_loss_equals_the_plain_one(either_way, case):
    loss = make(case)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for rows in (16, 31):  # The second size is compiled for any.
        embeddings, labels = random_embeddings(rows, 15).float(), random_labels(rows, 4)
        for result, plain in zip(
            value_and_gradient(compiled, embeddings, labels), value_and_gradient(loss, embeddings, labels), strict=True
        ):
            torch.testing.assert_close(result, plain)


def test_second_derivatives_are_refused_above_the_sizes_of_one_matrix(small_tiles):
    embeddings, labels = random_embeddings(8, 16).requires_grad_(), torch.arange(8) % 2
    (gradient,) = torch.autograd.grad(create_loss("clce")(embeddings, labels), embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.randn(4, 2), torch.arange(3), r"\(4, 2\) torch.float32 and \(3,\) do not fit"),
        (torch.randn(4), torch.arange(4), r"Expected: floats \(N, D\)"),
        (torch.ones(4, 2, dtype=torch.int64), torch.arange(4), "Expected: floats"),
        (torch.randn(4, 2), torch.randn(4), "torch.float32 is not allowed. Expected: integers"),
    ],
)
def test_a_batch_of_the_wrong_form_is_refused(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        create_loss("clce")(embeddings, labels)


class MeanPositive(ContrastiveLoss):
    def per_anchor(self, pairs):
        return -pairs.mean_positive()


def test_a_loss_of_ones_own_takes_reduction_and_gather():
    embeddings, labels = random_embeddings(6, 17), torch.tensor([0, 0, 0, 1, 1, 2])
    each = MeanPositive(reduction="none")(embeddings, labels)
    assert each[5] == 0
    assert MeanPositive(gather=True)(embeddings, labels).item() == pytest.approx(each[:5].mean().item())
    with pytest.raises(TypeError, match="margin: no such option of MeanPositive"):
        MeanPositive(margin=1)


def test_fusion_gives_self_supervised_losses_the_images():
    embeddings, labels, images = random_embeddings(16, 18), torch.arange(16) % 2, torch.arange(16) % 8
    for name, groups in (("ntxent", images), ("hcl", images), ("supcon", labels)):
        contrastive = create_loss(name)
        fused = FusedLoss(contrastive, 1.0)(None, embeddings, labels, images)
        assert fused.item() == contrastive(embeddings, groups).item()


def test_fusion_weighs_cross_entropy_and_contrast():
    embeddings, labels = random_embeddings(16, 6), torch.arange(16) % 4
    logits = random_embeddings(16, 7, dimensions=4)
    contrastive = create_loss("clce")
    ce = torch.nn.functional.cross_entropy(logits, labels).item()
    contrast = contrastive(embeddings, labels).item()
    for weight in (0, 0.3, 1):
        value = FusedLoss(contrastive, weight)(logits, embeddings, labels).item()
        assert value == pytest.approx((1 - weight) * ce + weight * contrast)


def test_bad_hyperparameters_are_named():
    with pytest.raises(ValueError, match=r"temperature: 0 is not allowed\. Allowed: a finite number of at least 1e-6"):
        create_loss("clce", temperature=0)
    with pytest.raises(ValueError, match="weight: 1.5 is not allowed"):
        FusedLoss(create_loss("clce"), 1.5)
    with pytest.raises(ValueError, match="tau_plus: 1 is not allowed"):
        create_loss("hcl", tau_plus=1)
    with pytest.raises(ValueError, match="reduction: 'sum' is not allowed"):
        create_loss("clce", reduction="sum")
    with pytest.raises(ValueError, match="reduction: 'none' is not allowed in a fused loss"):
        FusedLoss(create_loss("clce", reduction="none"), 0.5)
    with pytest.raises(UserError, match="'schanne' is not a loss. Did you mean 'schane'"):
        create_loss("schanne")
