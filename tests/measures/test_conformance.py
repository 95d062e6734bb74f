"""What every registered measure does, the next one too."""

import numpy as np
import pytest

from clce_bench.analysis.summary_labels import metric_label, of_measure
from clce_bench.components.registry import MEASURES, OF_ANOTHER_SET, load, written
from clce_bench.errors import UserError
from clce_bench.experiment.loading import parse_experiment
from clce_bench.planning.plan import plan_of
from tests.helpers.miniature import ROOT
from tests.measures.embedded import embedded


def planned(measure):
    grid = {"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "measures": measure}
    return plan_of(parse_experiment({"name": "x", "grids": [grid], "figures": []}, "x.yaml"))


@pytest.mark.parametrize("kind", MEASURES)
def test_it_is_documented_and_a_job_for_each_cell_that_can_be_measured_so(kind):
    named, other = f"{kind}:openmoji", kind
    measure, wrong = (named, other) if kind in OF_ANOTHER_SET else (other, named)
    jobs = planned(measure).jobs["measure"].values()
    assert [job.spec["measure"] for job in jobs] == [measure] * 2
    assert f"`{kind}" in (ROOT / "docs" / "measures.md").read_text()
    assert load(MEASURES[kind]).__doc__
    with pytest.raises(UserError, match=f"'{wrong}' is not a measure. Allowed: {written(kind)}"):
        planned(wrong)


# Of features alone; measures that read other images have tests of their own.
@pytest.mark.parametrize("kind", sorted(set(MEASURES) - OF_ANOTHER_SET - {"corruptions"}))
@pytest.mark.parametrize("novel", [False, True])
def test_each_metric_is_a_share_that_its_test_images_explain_and_readers_are_told_by_name(kind, novel, tmp_path):
    cell = embedded(tmp_path, novel)
    found = load(MEASURES[kind])(cell)
    assert found.metrics
    for name, value in found.metrics.items():
        assert 0 <= value <= 1
        outcomes, units = (found.arrays[f"{part}.{name}"] for part in ("outcome", "unit"))
        assert len(outcomes) == len(units) <= len(cell.images.test)
        assert np.mean(outcomes) == pytest.approx(value, abs=1e-6)
        assert of_measure(name)
        assert name not in metric_label(f"metric.{name}")
