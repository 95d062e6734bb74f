"""Several processes give the gradients of one."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import nn

from clce_bench.losses import core, create_loss
from clce_bench.training import distributed
from clce_bench.training.gradient_cache import cached_backward
from tests.helpers.processes import in_processes
from tests.losses.references import TARGET_CASES, VIEW_CASES, called, create

NAMES = ["supcon", "schane", "clce", "tcl", "ntxent", "hcl", "sincere", "dcl"]
OF_VIEWS = [*VIEW_CASES, *TARGET_CASES]
SIZES = {2: [7, 5], 4: [7, 0, 1, 4]}


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 6, generator=generator, dtype=torch.float64), torch.randint(3, (12,), generator=generator)


def encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()


def worker(rank, sizes, folder, micro_batch, dense_rows):
    """Trains one step on this process's rows; the first process writes its gradients."""
    torch.set_num_threads(1)
    core.DENSE_ROWS["cpu"] = dense_rows
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(sizes))
    inputs, labels = (values.split(sizes)[rank] for values in batch())
    results = {}
    for name in NAMES:
        model = nn.parallel.DistributedDataParallel(encoder())
        loss = create_loss(name, gather=True)
        value = cached_backward(model, inputs, lambda rows, loss=loss: loss(rows, labels.short()), micro_batch)
        dist.all_reduce(value)
        each = create_loss(name, gather=True, reduction="none")(model(inputs).detach(), labels)
        gathered = [None] * len(sizes)
        dist.all_gather_object(gathered, each)
        gradients = [parameter.grad for parameter in model.parameters()]
        results[name] = value / len(sizes), torch.cat(gathered), gradients
    learning = create_loss("clce", temperature="learned", gather=True).double()
    cached_backward(encoder(), inputs, lambda rows: learning(rows, labels), micro_batch)
    results["temperature"] = learning.temperature.log.grad
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(("processes", "micro_batch", "dense_rows"), [(2, 2, 12), (2, 100, 0), (4, 100, 12), (4, 2, 0)])
def test_gathered_gradients_equal_those_of_one_process(tmp_path, processes, micro_batch, dense_rows):
    in_processes(worker, processes, SIZES[processes], str(tmp_path), micro_batch, dense_rows)
    results = torch.load(tmp_path / "results.pt")
    inputs, labels = batch()
    learning = create_loss("clce", temperature="learned").double()
    learning(encoder()(inputs), labels).backward()
    torch.testing.assert_close(results["temperature"], learning.temperature.log.grad)
    for name in NAMES:
        model = encoder()
        value = create_loss(name)(model(inputs), labels)
        value.backward()
        each = create_loss(name, reduction="none")(model(inputs), labels)
        got, got_each, got_gradients = results[name]
        torch.testing.assert_close(got, value.detach())
        torch.testing.assert_close(got_each, each.detach())
        for result, parameter in zip(got_gradients, model.parameters(), strict=True):
            torch.testing.assert_close(result, parameter.grad)


IMAGES = [0, 1, 2, 3, 4, 5]


def views_of(images):
    """Rows of two views of some images: all in their first view, then all in their second."""
    whole = torch.randn(2, len(IMAGES), 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return whole[:, images].reshape(-1, 6), torch.tensor(images).repeat(2)


def step_with(name, images, wrap):
    """Gradients of one step with a loss of views, and what the loss remembers."""
    torch.manual_seed(1)
    loss = create(name, 4, gather=True, **TARGET_CASES.get(name, ({},))[0])
    if distributed.rank():  # What a process begins with is to be that of the first one.
        torch.manual_seed(2)
        loss = create(name, 4, gather=True, **TARGET_CASES.get(name, ({},))[0])
    distributed.start_equal(loss)
    model, (inputs, labels) = wrap(encoder()), views_of(images)
    value = cached_backward(model, inputs, lambda rows: called(loss, rows, labels), 3)
    distributed.average_gradients(loss)
    gradients = [parameter.grad for parameter in (*model.parameters(), *loss.parameters())]
    return distributed.all_reduce_mean(value), gradients, list(loss.buffers())


def view_worker(rank, shares, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(shares))
    found = {name: step_with(name, shares[rank], nn.parallel.DistributedDataParallel) for name in OF_VIEWS}
    if rank == 1:  # Not the one whose parameters the others begin with.
        torch.save(found, f"{folder}/results.pt")
    dist.destroy_process_group()


def test_losses_of_views_with_what_they_learn_and_remember_equal_those_of_one_process(tmp_path):
    in_processes(view_worker, 2, [[0, 3, 4, 5], [2, 1]], str(tmp_path))
    results = torch.load(tmp_path / "results.pt")
    for name in OF_VIEWS:
        torch.testing.assert_close(results[name], step_with(name, IMAGES, lambda model: model))


def unequal(rank, sizes, folder):
    """Takes two steps with one micro-batch here and several there, and buffers to exchange."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", store, timedelta(seconds=60), rank=rank, world_size=len(sizes))
    inputs, labels = (values.split(sizes)[rank] for values in batch())
    inner = nn.Sequential(*encoder(), nn.BatchNorm1d(4).double().eval())
    model, loss = nn.parallel.DistributedDataParallel(inner), create_loss("clce", gather=True)
    for _ in range(2):
        model.zero_grad()
        cached_backward(model, inputs, lambda rows: loss(rows, labels.short()), 3)
    if rank == 0:
        torch.save([parameter.grad for parameter in model.parameters()], f"{folder}/gradients.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("sizes", [[9, 3], [2, 10], [12, 0]])
def test_processes_may_have_unequal_numbers_of_micro_batches(tmp_path, sizes):
    in_processes(unequal, 2, sizes, str(tmp_path))
    inputs, labels = batch()
    whole = nn.Sequential(*encoder(), nn.BatchNorm1d(4).double().eval())
    create_loss("clce")(whole(inputs), labels).backward()
    for result, parameter in zip(torch.load(tmp_path / "gradients.pt"), whole.parameters(), strict=True):
        torch.testing.assert_close(result, parameter.grad)


def test_gather_needs_no_processes():
    inputs, labels = batch()
    assert create_loss("clce", gather=True)(inputs, labels) == create_loss("clce")(inputs, labels)
