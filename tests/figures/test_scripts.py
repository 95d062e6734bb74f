"""Names of any kind on figures: what would be a formula, hidden, or an empty box, is a name."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clce_bench.figures import scripts
from clce_bench.figures.cosine_distributions import _similarities, extremes
from clce_bench.figures.scripts import make_readable
from clce_bench.figures.style import in_legends, legend_below, loss_style, use_style
from clce_bench.figures.tsne import TSNE

NAMES = ["a$b$c", "$x^2", "{\\frac}$", "_hidden", "狗", "가방", "кошка", "😀 face", "🏳️‍🌈", "x_y^z\\"]


@pytest.fixture(autouse=True)
def style():
    use_style()
    yield
    plt.close("all")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is_and_stays_in_the_legend(name, tmp_path):
    canvas, axes = plt.subplots()
    axes.set_title(name)
    axes.plot([0, 1], [0, 1], label=in_legends(name))
    axes.set_xticks([0], [name])
    legend_below(canvas, axes)
    make_readable(canvas)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # A glyph that is missing is a warning.
        for ending in ("svg", "png", "pdf"):
            canvas.savefig(tmp_path / f"x.{ending}")
    (entry,) = canvas.legends[0].get_texts()
    assert entry.get_text().strip() == axes.get_title()
    if name.isascii() or name == "кошка":
        assert axes.get_title() == name


def test_a_sign_without_a_font_becomes_its_code_point(monkeypatch):
    monkeypatch.setattr(scripts, "_font_with", lambda code: "")
    canvas, axes = plt.subplots()
    axes.set_title("狗 🏳️‍🌈")
    make_readable(canvas)
    assert axes.get_title() == "U+72D7 U+1F3F3U+1F308"


def test_a_font_that_is_installed_is_used_for_what_the_first_one_lacks(monkeypatch):
    monkeypatch.setattr(scripts, "_font_with", lambda code: "Noto Sans CJK JP" if code == ord("狗") else "DejaVu Sans")
    canvas, axes = plt.subplots()
    axes.set_title("狗é")
    make_readable(canvas)
    assert axes.get_title() == "狗é"
    assert axes.title.get_fontfamily() == ["DejaVu Sans", "Noto Sans CJK JP"]


def test_a_loss_whose_class_is_private_is_in_the_legend():
    canvas, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], **loss_style(["mine:_Margin"])["mine:_Margin"])
    legend_below(canvas, axes)
    assert [text.get_text().strip() for text in canvas.legends[0].get_texts()] == ["_Margin"]


def test_every_class_of_a_map_has_its_name_at_its_centre():
    rng = np.random.default_rng(0)
    classes = np.repeat(NAMES, 6)
    features = rng.normal(size=(len(classes), 8)).astype(np.float32)

    class Made:
        rows = pd.DataFrame({"dataset": ["digits"], "images_per_class": [np.nan], "label_noise": [0.0]})

        def embedded(self):
            row = {"loss": "ce", "lambda": 0.0, "cell": "x", "seed": 0, "batch_size": 64}
            cell = type("Cell", (), {"row": row, "features": features, "label": "CE"})
            return classes, [cell]

    drawing = TSNE(kind="tsne", grid="main").draw(Made())
    told = {text.get_text(): text.xy for text in drawing.canvas.axes[0].texts}
    centres = drawing.data.groupby("class")[["x", "y"]].median()
    assert set(told) == set(NAMES)
    for name, place in told.items():
        assert np.allclose(place, centres.loc[name], atol=1e-4)


def test_classes_shown_are_those_set_apart_best_and_worst():
    rng = np.random.default_rng(1)
    spread = {"b": 0.1, "a": 1.0, "d": 9.0, "c": 3.0}
    classes = np.repeat(list(spread), 20)
    centres = np.repeat(np.eye(4, 6), 20, axis=0) * 3
    features = (centres + rng.normal(size=(80, 6)) * np.repeat(list(spread.values()), 20)[:, None]).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    apart = {}
    for name in spread:
        sides = _similarities(unit, classes == name)
        apart[name] = sides["positives"].mean() - sides["negatives"].mean()
    assert extremes(features, classes) == [max(apart, key=apart.get), min(apart, key=apart.get)]
    assert extremes(features, classes)[0] == "b"
    assert extremes(features[:1], classes[:1]) == []
