"""Published numbers, to be shown beside your own."""

from functools import cache
from importlib.resources import files
from typing import Literal

import pandas as pd
import yaml
from pydantic import ValidationError

from clce_bench.components.loss_info import LOSSES
from clce_bench.components.registry import DATASETS
from clce_bench.errors import UserError
from clce_bench.experiment.strict_model import StrictModel

FILE = files("clce_bench") / "data_files" / "published.yaml"


class Published(StrictModel):
    """A number as it was seen."""

    value: float
    """In per cent, or in points."""
    kind: Literal["accuracy", "gain"]
    """``gain``: the largest difference to cross-entropy over several data sets."""
    metric: str
    dataset: str | None
    model: str | None
    """A timm model, without its tag."""
    loss: str
    paper: str
    place: str
    source: str


@cache
def published_numbers() -> tuple[Published, ...]:
    """Reads ``data_files/published.yaml``.

    Raises:
        UserError: an entry lacks a key, or names a data set or a loss that does not exist.
    """
    return parse_published(FILE.read_text(encoding="utf-8"))


def parse_published(text: str) -> tuple[Published, ...]:
    """Checks published numbers.

    Args:
        text: YAML, a list.

    Raises:
        UserError: an entry lacks a key, or names a data set or a loss that does not exist.
    """
    numbers = []
    for place, entry in enumerate(yaml.safe_load(text)):
        try:
            number = Published.model_validate(entry)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in detail["loc"])
            raise UserError(f"published.yaml: [{place}].{key}: {detail['msg']}.") from None
        if number.dataset is not None and number.dataset not in DATASETS:
            raise UserError(f"published.yaml: [{place}].dataset: there is no data set {number.dataset!r}.")
        if number.loss not in LOSSES:
            raise UserError(f"published.yaml: [{place}].loss: there is no loss {number.loss!r}.")
        numbers.append(number)
    return tuple(numbers)


def add_published(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Adds ``published``, ``published_difference`` (ours minus theirs) and ``published_source`` to a comparison.

    Blank where nothing was seen for a setting, or where the setting trains on a part of the images only.

    Args:
        table: from :func:`clce_bench.analysis.comparisons.compare`.
        metric: its metric.
    """
    keys = [
        (number.dataset, number.model, number.loss, number.metric)
        for number in published_numbers()
        if number.kind == "accuracy"
    ]
    by_key = dict(zip(keys, (n for n in published_numbers() if n.kind == "accuracy"), strict=True))
    found = []
    for row in table.to_dict("records"):
        model, whole = row["backbone"].partition(".")[0], pd.isna(row["images_per_class"])
        number = by_key.get((row["dataset"], model, row["loss"], metric.removeprefix("metric."))) if whole else None
        found.append(number)
    theirs = [number.value if number else float("nan") for number in found]
    sources = pd.Series([f"{number.paper}, {number.place}" if number else None for number in found], dtype="string")
    return table.assign(
        published=theirs, published_difference=table["mean"] - theirs, published_source=sources.to_numpy()
    )
