"""The first screen: what it asks, what it answers, and small pictures that are true to their numbers."""

import re

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clce_bench.analysis.summary import write_summary
from clce_bench.analysis.verdicts import Finding, Verdict
from clce_bench.components.loss_info import LOSSES
from clce_bench.experiment.loading import load_experiment, parse_experiment
from clce_bench.report.answer import answer_of
from clce_bench.report.claim_rows import claim_rows, claims_scale_of
from clce_bench.report.forest import axis, forest, scale_of
from clce_bench.report.methods import as_yaml
from tests.helpers.made_up import make_up
from tests.helpers.miniature import ROOT

MAIN = {"name": "main", "dataset": "digits", "loss": ["ce", "clce", "tcl"], "lambda": 0.9, "seed": [0, 1, 2]}


@given(st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6), max_size=5))
def test_an_axis_has_zero_and_all_values_within_round_ends(values):
    scale = scale_of([*values, None, float("nan")])
    assert scale.low <= min([*values, 0]) <= max([*values, 0]) <= scale.high
    assert 2 <= len(scale.ticks) <= 9
    assert any(abs(tick) < scale.step / 1e6 for tick in scale.ticks)
    assert float(f"{scale.step:.0e}") == pytest.approx(scale.step)
    places = [scale.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


def test_a_picture_is_as_wide_as_its_interval_and_marked_when_clear_of_zero():
    scale = scale_of([-10, 10])
    drawn = str(forest(scale, 5.0, 2.0, 8.0, margin=1.0, size=3.0, label='a "loss" < b'))
    ends = {
        kind: (float(x1), float(x2))
        for kind, x1, x2 in re.findall(r'<line class="([\w ]+)" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', drawn)
    }
    width = scale.high - scale.low
    assert ends["interval clear"][1] - ends["interval clear"][0] == pytest.approx(100 * 6 / width, abs=0.02)
    assert ends["size"][0] == pytest.approx(scale.place(3), abs=0.01)
    assert "&#34;loss&#34; &lt; b" in drawn
    assert "clear" not in forest(scale, 1.0, -1.0, 3.0)
    assert "dot" not in forest(scale, None)
    assert "−10" in axis(scale.signed_ticks)


@pytest.mark.parametrize(
    ("changes", "question"),
    [
        ({}, "Does adding CLCE or TCL to cross-entropy beat cross-entropy alone on digits?"),
        ({"lambda": 1}, "Does training with CLCE or TCL beat cross-entropy on digits?"),
        ({"loss": ["supcon", "tcl"]}, "How well do SupCon and TCL classify digits?"),
        ({"loss": "ce"}, "Cross-entropy on digits"),
    ],
)
def test_the_question_is_that_of_the_headline_grid(changes, question):
    experiment, plan = make_up(grids=[{**MAIN, **changes}], figures=[])
    write_summary(experiment, plan.folder)
    answer = answer_of(experiment, pd.read_parquet(plan.folder / "summary.parquet"), [])
    assert answer.question == question
    assert len(answer.effects) == len(experiment.grids[0].loss)


def test_the_sentence_names_the_largest_difference():
    experiment, plan = make_up(grids=[MAIN], figures=[])
    write_summary(experiment, plan.folder)
    summary = pd.read_parquet(plan.folder / "summary.parquet")
    summary.loc[summary["loss"] == "tcl", "metric.top1"] = 0.2
    answer = answer_of(experiment, summary, [])
    assert answer.sentence.startswith("TCL, λ = 0.9 differs most from cross-entropy: −6")
    assert "points of test top-1 on digits. " in answer.sentence


def test_the_sentence_names_what_decides():
    ids = ["schane-above-ce", "clce-above-ce", "tcl-at-least-supcon"]
    claims = [{"id": one, "grids": "main", "primary": one == "clce-above-ce"} for one in ids]
    experiment, plan = make_up(grids=[MAIN], figures=[], claims=claims)
    write_summary(experiment, plan.folder)
    summary = pd.read_parquet(plan.folder / "summary.parquet")

    def sentence(*outcomes):
        found = Finding("digits, batch 64: a − b, test top-1 (%)", -2.0, -3.0, -1.0, 0.01, 3, ())
        verdicts = [
            Verdict(one, f"{one}.", "P", "p", outcome, -2.0, -3.0, -1.0, 0.01, 3, (), "Why.", (found,), alpha=0.025)
            for one, outcome in zip(ids, outcomes, strict=True)
        ]
        return answer_of(experiment, summary, verdicts).sentence

    # The primary claim comes first, whatever else was decided.
    assert sentence("reproduced", "contradicted", "undecided") == (
        "“clce-above-ce” is contradicted: −2.0 [−3.0, −1.0] points "
        "(digits, batch 64: a − b, test top-1; 97.5 % interval). "
        "Of 3 claims: 1 reproduced; 1 contradicted; 1 undecided."
    )
    undecided = sentence("undecided", "undecided", "undecided")
    assert undecided.startswith("“clce-above-ce” stays undecided: −2.0 [−3.0, −1.0] points (")
    assert "Of 3 claims: 3 undecided. " in undecided
    assert " differs most from cross-entropy: +" in undecided
    # Without a primary claim, the first that is decided.
    experiment = experiment.model_copy(update={"claims": []})
    assert sentence("undecided", "undecided", "equivalent").startswith(
        "“tcl-at-least-supcon” comes to no difference beyond the margin: −2.0"
    )


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("reproduced", "reproduced"),
        ("reproduced, smaller than claimed", "reproduced"),
        ("equivalent: no difference beyond the margin", "equivalent"),
        ("not tested", "not-tested"),
    ],
)
def test_verdicts_of_every_category_have_a_look_and_facts_are_told(outcome, kind):
    verdict = Verdict("id", "S.", "P", "p", outcome, 1.0, 0.5, 1.5, None, 3, (), "Why.")
    for name, value in {"margin": 1.0, "size": 3.4, "smallest_visible": 2.0}.items():
        object.__setattr__(verdict, name, value)
    (row,) = claim_rows([verdict], claims_scale_of([verdict]), {}, [])
    assert row.kind == kind
    assert row.effect == "+1.0 [+0.5, +1.5]"
    assert " ".join(row.facts) == (
        "A difference below 1 points does not count (the band). The paper states +3.4 points (the tick)."
    )
    assert row.visible == "± 2.0"
    assert 'class="margin"' in row.picture
    assert 'class="size"' in row.picture


def test_every_loss_of_a_paper_has_its_reference():
    known = yaml.safe_load((ROOT / "clce_bench" / "data_files" / "references.yaml").read_text())
    assert set(known) == {"", *(name for name, info in LOSSES.items() if info.path)}
    assert all(entry.count("{") == entry.count("}") for entry in known.values())


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_written_for_readers_is_the_same_again(path):
    experiment = load_experiment(path)
    assert parse_experiment(yaml.safe_load(as_yaml(experiment)), "again") == experiment
