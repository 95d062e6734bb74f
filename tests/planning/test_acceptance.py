"""Cells of an older layout of the package are taken over by the user's word, and nothing is trained again."""

from pathlib import Path

import pytest

from clce_bench.errors import UserError
from clce_bench.files import digest, read_json, write_json
from clce_bench.planning import acceptance
from clce_bench.planning.cell_status import states_of
from clce_bench.planning.reruns import reruns_of
from tests.results.test_results import finished

OLD = {
    "train": ["clce_bench.training.train", "clce_bench.training.own_names", "clce_bench.config"],
    "evaluate": ["clce_bench.evaluation.evaluate", "clce_bench.records"],
}


@pytest.fixture
def older():
    """Finished cells whose records name modules that are gone, and fingerprints of code that nobody has any more."""
    plan = finished()
    for path in [*Path("results").rglob("*.job.json"), *Path("results/cells").rglob("*.json")]:
        record = read_json(path)
        record["job"]["code"] = digest(["old", record["job"]["code"]], 16)
        record["job"]["upstream"] = {
            name: digest(["old", code], 16) for name, code in record["job"]["upstream"].items()
        }
        verb = {"cell.json": "train", "metrics.json": "evaluate"}.get(path.name, "")
        record["modules"] = {module: digest(module) for module in OLD.get(verb, ["clce_bench.data"])}
        write_json(path, record)
    return plan


def test_records_of_an_older_layout_are_stale_and_say_which_modules_went(older):
    states = states_of(reruns_of(older))
    assert {state.status for state in states.values()} == {"stale"}
    assert all("config.py changed since" in state.reason for state in states.values())


def test_accepting_them_leaves_nothing_to_be_made_but_what_is_made_of_all_cells(older):
    before = reruns_of(older)
    assert {"dataset", "splits", "train", "evaluate"} <= {node.verb for node in before.runs}
    assert all(acceptance.only_code(before, cell) for cell in older.cells)
    acceptance.accept(before, older.cells, "only moved")
    after = reruns_of(older)
    assert {node.verb for node in after.runs} <= {"summarize", "figures", "report", "track"}
    assert {(state.status, state.accepted) for state in states_of(after).values()} == {("done", "only moved")}
    for cell in older.cells:
        (entry,) = read_json(cell.directory / "cell.json")["accepted"]
        codes = read_json(cell.directory / "cell.json")["job"]["upstream"]
        assert {name: entry["codes"][name]["old"] for name in codes} == codes


def test_what_differs_in_more_than_code_is_not_taken_over(older):
    path = older.cells[0].directory / "cell.json"
    record = read_json(path)
    record["job"]["spec"]["recipe"]["epochs"] += 1
    write_json(path, record)
    text = path.read_text()
    with pytest.raises(UserError, match=r"not only code differs: train: spec recipe\.epochs"):
        acceptance.accept(reruns_of(older), older.cells, "only moved")
    assert path.read_text() == text
