import io
import re

import pytest
from rich.console import Console

from clce_bench.report.terminal import TextTable

COLUMNS = ["cell", "data set", "status", "reason", "to redo"]
ROWS = [
    ("clce_bs64_lam0.9_s0-0f3a91c2", "openmoji", "stale", "the code of the loss changed since it was trained", "2 min"),
    ("clce_bs64_lam0.9_s1-77b0d1aa", "openmoji", "stale", "the code of the loss changed since it was trained", "9 min"),
]


def shown(width, rows=ROWS, spare=("data set", "to redo"), prose=("reason",)):
    out = io.StringIO()
    Console(file=out, width=width).print(TextTable(COLUMNS, rows, spare, prose, "a title"))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 70, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(width):
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    words = set(re.split(r"[\s│┃,]+", text))
    for word in ["clce_bs64_lam0.9_s0-0f3a91c2", "stale", "changed", "trained"]:
        assert word in words


def test_spare_columns_go_when_they_must_and_one_value_is_told_once():
    assert "In all rows" not in shown(140)
    assert all(title in shown(140) for title in COLUMNS)
    narrow = shown(84)
    assert "In all rows: data set openmoji." in narrow
    assert "2 min" in narrow
    narrower = shown(74)
    assert "Left out to fit: to redo." in narrower
    assert "2 min" not in narrower


def test_rows_stand_below_each_other_where_no_columns_fit():
    text = shown(40)
    assert "clce_bs64_lam0.9_s0-0f3a91c2" in text.splitlines()
    assert max(map(len, text.splitlines())) <= 40
    assert len(text.splitlines()) > 4
