"""What an experiment file may say about a figure."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from clce_bench.experiment.strict_model import Name, StrictModel, Values, as_list

Kind = Literal[
    "accuracy_cost",
    "audit",
    "axis_curve",
    "batch_size_curve",
    "cosine_distributions",
    "critical_difference",
    "difference_matrix",
    "differences",
    "gradient_magnitudes",
    "lambda_curve",
    "rank_change",
    "training_curve",
    "tsne",
]

EMBEDDINGS = ("cosine_distributions", "gradient_magnitudes", "tsne")
"""Kinds that are drawn from the cells' embeddings, not only from the summary."""

TABLED = ("audit", "rank_change")
"""Kinds whose numbers are a table too, in ``tables/`` and on the page."""

_ONE_METRIC = ("accuracy_cost", "difference_matrix", "gradient_magnitudes", "rank_change")

# Options that only some kinds have, and who has them.
_KINDS_WITH = {
    "metrics": set(get_args(Kind)) - {"training_curve", "cosine_distributions", "tsne"},
    "axis": {"axis_curve"},
    "classes": {"cosine_distributions", "tsne"},
    "k1": {"gradient_magnitudes"},
    "k2": {"gradient_magnitudes"},
}


class Figure(StrictModel):
    """A figure and the cells that it shows."""

    kind: Kind
    grid: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
    """The grid whose cells it shows; or several, for their union."""
    name: Name
    """Name of its files: kind and grid when not given."""
    where: dict[str, Annotated[Values, BeforeValidator(as_list)]] = {}
    """Shows only cells with these values: ``{dataset: digits, lambda: [0.5, 0.9]}``. Cells that do not have an axis
    stay, so cross-entropy stays whatever is said of λ."""
    metrics: list[Name] = []
    """Metrics such as ``top1``; the accuracies that the cells have when not given."""
    axis: str = ""
    """What varies from left to right, such as ``recipe.projection_size``; the only thing that varies when not given."""
    classes: Annotated[list[str], Field(max_length=20)] = []
    """Classes that are shown; the first ones when not given."""
    k1: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)] = [
        0.0,
        1.0,
        10.0,
        100.0,
        1000.0,
        5000.0,
        50000.0,
    ]
    """TCL's k1 at which gradients are measured."""
    k2: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)] = [1.0, 3.0]
    """TCL's k2 at which gradients are measured."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "name" in values:
            return values
        parts = [str(part) for key in ("kind", "grid") for part in as_list(values.get(key, "none"))]
        return {**values, "name": "-".join(parts)}

    @model_validator(mode="after")
    def _options_fit(self) -> "Figure":
        if self.kind == "rank_change" and len(self.grid) != 2:
            raise ValueError("grid: rank_change needs two, the one before and the one after.")
        if self.kind in _ONE_METRIC and len(self.metrics) > 1:
            raise ValueError(f"metrics: {self.kind} shows one; give each a figure with a name of its own.")
        for option, kinds in _KINDS_WITH.items():
            given = getattr(self, option) != type(self).model_fields[option].default
            if given and self.kind not in kinds:
                raise ValueError(
                    f"{option}: {self.kind} has no such option. It belongs to: {', '.join(sorted(kinds))}."
                )
        return self
