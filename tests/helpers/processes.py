"""Processes that start with torch imported: a forked copy of one that has it, instead of an import in each."""

import multiprocessing

from torch.multiprocessing import start_processes

PRELOADED = ["clce_bench.training.train", "clce_bench.losses", "clce_bench.training.gradient_cache"]


def forkserver():
    """Returns the context of the one server that all tests of this process share."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def in_processes(function, count, *arguments):
    """Calls ``function(rank, *arguments)`` in each of ``count`` processes and waits for all."""
    forkserver()
    start_processes(function, arguments, nprocs=count, start_method="forkserver")
