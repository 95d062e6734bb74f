"""What follows from a change, on plans without files: compared with a search of the graph that is written out here."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clce_bench.experiment.loading import parse_experiment
from clce_bench.planning.changes import Change
from clce_bench.planning.job import Node
from clce_bench.planning.plan import plan_of
from clce_bench.planning.reruns import propagate
from clce_bench.planning.stages import UPSTREAM_STAGES

CODE, DAMAGE = Change("code", "x", "old", "new"), Change("damage", "file", "as written", "gone")
GRIDS = [
    {"name": "a", "dataset": "digits", "loss": ["ce", "clce"], "lambda": [0.5, 0.9], "seed": [0, 1]},
    {"name": "b", "dataset": "openmoji-fs", "loss": "ce", "seed": 0},
]
PLAN = plan_of(
    parse_experiment(
        {"name": "x", "backbone": {"freeze": "blocks"}, "grids": GRIDS, "figures": [{"kind": "tsne", "grid": "a"}]}, ""
    )
)


def expected(changes, lost):
    """Repeats the rules until nothing new follows from them."""
    redo = {node for node in PLAN.nodes if node not in changes and node.verb not in UPSTREAM_STAGES}
    redo |= {
        node for node, found in changes.items() if found and (found != [DAMAGE] or node.verb not in UPSTREAM_STAGES)
    }
    repair = {node for node, found in changes.items() if found == [DAMAGE]} - redo
    while True:
        before = len(redo), len(repair)
        for node in PLAN.nodes:
            needs = set(PLAN.needs(node))
            if needs & redo and (node.verb not in UPSTREAM_STAGES or node in changes):
                redo.add(node)
            if node in redo | repair:
                repair |= {one for one in needs if one.verb in UPSTREAM_STAGES and one not in changes}
                redo |= needs & lost
        if before == (len(redo), len(repair)):
            return redo | repair


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_all_that_depends_on_a_change_runs_and_nothing_else(data):
    kinds = st.sampled_from([None, [], [], [], [CODE], [DAMAGE]])
    states = {node: data.draw(kinds) for node in PLAN.nodes}
    changes = {node: found for node, found in states.items() if found is not None}
    lost = {node for node in changes if node.verb == "train" and data.draw(st.booleans())}
    assert set(propagate(PLAN, changes, lost)) == expected(changes, lost)


def test_as_recorded_nothing_runs_and_without_records_everything():
    assert propagate(PLAN, {node: [] for node in PLAN.nodes}) == {}
    assert set(propagate(PLAN, {})) == set(PLAN.nodes)


@pytest.mark.parametrize("verb", ["train", "features", "splits"])
def test_the_reason_names_what_came_before(verb):
    changed = next(node for node in PLAN.nodes if node.verb == verb)
    runs = propagate(PLAN, {node: [CODE] if node == changed else [] for node in PLAN.nodes})
    assert runs[changed] == "code changed"
    others = {reason for node, reason in runs.items() if node != changed}
    assert all(reason.startswith("after ") for reason in others)
    assert Node("report", "x") in runs


@pytest.mark.parametrize(("verb", "spreads"), [("evaluate", True), ("splits", False)])
def test_a_file_that_is_gone_is_named(verb, spreads):
    damaged = next(node for node in PLAN.nodes if node.verb == verb)
    runs = propagate(PLAN, {node: [DAMAGE] if node == damaged else [] for node in PLAN.nodes})
    assert runs[damaged] == "file is damaged or gone"
    assert (len(runs) > 1) == spreads
