"""The check for a GPU works, in a tiny size on the CPU: on the day that there is a GPU it only has to be started."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.helpers.miniature import ROOT

sys.path.append(str(ROOT))

from benchmarks import gpu_check
from benchmarks.gpu.verdict import Verdict, difference

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", gpu_check.PARTS)
def test_each_part_passes_on_a_cpu(name):
    (found,) = gpu_check.check(CPU, True, [name])
    assert found["verdict"] == "passed", found
    assert all(isinstance(value, str | int | float) for row in found["rows"] for value in row.values())


def parts(monkeypatch):
    def broken():
        raise RuntimeError("out of order\nmore")

    def absent():
        raise ModuleNotFoundError("No module named 'pydantic'")

    made = {
        "good": lambda _: Verdict(True, "fine", [{"loss": "clce", "ms": 1.23456}]),
        "bad": lambda _: Verdict(False, "too slow"),
        "broken": lambda _: broken(),
        "absent": lambda _: absent(),
    }
    monkeypatch.setattr(gpu_check, "PARTS", {name: f"made_up:{name}" for name in made})
    monkeypatch.setattr(gpu_check, "import_module", lambda _: SimpleNamespace(**made))


def test_a_part_that_fails_or_cannot_run_stops_no_other(monkeypatch):
    parts(monkeypatch)
    found = gpu_check.check(CPU, True, ["broken", "absent", "bad", "good"])
    verdicts = [(part["verdict"], part["says"]) for part in found]
    lacking = ("not run", "No module named 'pydantic'")
    assert verdicts == [("failed", "RuntimeError: out of order"), lacking, ("failed", "too slow"), ("passed", "fine")]
    (late,) = gpu_check.check(CPU, True, ["good"], budget=-1)
    assert late["verdict"] == "not run"


def test_the_page_has_verdicts_and_numbers(monkeypatch, tmp_path):
    parts(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--tiny", "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        gpu_check.main()
    assert ended.value.code == 1
    page = (tmp_path / "out/gpu.md").read_text()
    assert "| bad | failed | too slow |" in page
    assert "## Good\n\n| loss | ms |\n| --- | --- |\n| clce | 1.23 |" in page
    written = json.loads((tmp_path / "out/gpu.json").read_text())
    assert [part["verdict"] for part in written["parts"]] == ["passed", "failed", "failed", "not run"]
    assert written["machine"]["torch"] == torch.__version__


def test_what_computes_nothing_is_no_agreement():
    with pytest.raises(ValueError, match="is zero"):
        difference(torch.zeros(3), torch.zeros(3))
