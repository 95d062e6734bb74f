"""What an experiment file may say about every figure; the rest is each kind's own, in ``clce_bench/figures/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from clce_bench.components.registry import FIGURES, load_figure
from clce_bench.errors import UserError
from clce_bench.experiment.strict_model import Name, StrictModel, Values, as_list

if TYPE_CHECKING:
    from clce_bench.experiment.cells import Cell


class Figure(StrictModel):
    """A figure: what the file says of it, which cells it needs, and how it is drawn.

    A kind is a subclass in a file of its own, named in :data:`clce_bench.components.registry.FIGURES`. Reading an
    experiment imports the kinds that it names, so they import pandas and matplotlib where they draw.
    """

    kind: str
    """A kind that comes with the package, or a path like ``my_pkg.my_figure:MyFigure``."""
    grid: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
    """The grid whose cells it shows; or several, for their union."""
    name: Name
    """Name of its files: kind and grid when not given."""
    where: dict[str, Annotated[Values, BeforeValidator(as_list)]] = {}
    """Shows only cells with these values: ``{dataset: digits, lambda: [0.5, 0.9]}``. Cells that do not have an axis
    stay, so cross-entropy stays whatever is said of λ."""

    from_embeddings: ClassVar[bool] = False
    """Whether it is drawn from the cells' embeddings too, not only from the summary."""
    from_training: ClassVar[bool] = False
    """Whether it can be drawn of cells that were trained and not measured on the test part."""
    compares_hazards: ClassVar[bool] = False
    """Whether its grids may differ in their hazards; the first then has none."""
    tabled: ClassVar[bool] = False
    """Whether its numbers are a table too, in ``tables/`` and on the page."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "name" in values:
            return values
        kind = str(values.get("kind", "none")).rpartition(":")[2]
        return {**values, "name": "-".join([kind, *map(str, as_list(values.get("grid", "none")))])}

    @model_validator(mode="before")
    @classmethod
    def _options_of_other_kinds(cls, values: Any) -> Any:
        for key in set(values) - set(cls.model_fields) if isinstance(values, dict) and "kind" in values else ():
            kinds = [kind for kind in sorted(FIGURES) if key in load_figure(kind).model_fields]
            if kinds:
                raise ValueError(f"{key}: {values['kind']} has no such option. It belongs to: {', '.join(kinds)}.")
        return values

    @property
    def column(self) -> str:
        """Of a curve, the column of its data that runs from left to right; readers may explore it on the page."""
        return ""

    def lacking(self, cells: list[Cell]) -> str:
        """Says what the cells lack for this figure; an empty string if nothing.

        Args:
            cells: those that it shows, sorted by name.
        """
        return ""

    def completed(self, cells: list[Cell]) -> Self:
        """Fills in the options that the cells decide."""
        return self

    def table(self, rows: Any) -> Any:
        """Gives its numbers as text, a data frame, if it is ``tabled``.

        Args:
            rows: its cells, from the summary.
        """
        raise NotImplementedError

    def draw(self, source: Any) -> Any:
        """Draws it.

        Args:
            source: its cells, a :class:`clce_bench.figures.source.Source`.

        Returns:
            A :class:`clce_bench.figures.source.Drawing`.
        """
        raise NotImplementedError


def figure_of(values: Any) -> Any:
    """Reads a figure as its kind, if it names one.

    Raises:
        ValueError: there is no such kind, or an option is outside its range.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str):
        return values
    try:
        found = load_figure(kind)
    except UserError as error:
        raise ValueError(f"kind: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Figure)):
        raise ValueError(f"kind: {kind} is no subclass of clce_bench.figures.Figure.")
    return found.model_validate(values)


AnyFigure = Annotated[SerializeAsAny[Figure], BeforeValidator(figure_of)]
"""A figure of any kind."""
