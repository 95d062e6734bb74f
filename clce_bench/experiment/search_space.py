"""How the settings of losses are searched: the ``tuning`` section of a grid."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from clce_bench.components.hyperparameters import check_loss
from clce_bench.experiment.recipe_values import check_recipe
from clce_bench.experiment.recipes import Recipe
from clce_bench.experiment.strict_model import StrictModel


class Range(StrictModel):
    """The values that one setting may take: between ``low`` and ``high``, or one of ``choices``."""

    low: float | None = None
    """Smallest value."""
    high: float | None = None
    """Largest value."""
    log: bool = False
    """Whether its logarithm is searched evenly instead of itself."""
    choices: list[Any] = []
    """The values themselves, instead of ``low`` and ``high``; a plain list means the same."""

    @model_validator(mode="after")
    def _has_values(self) -> "Range":
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("a list of values has no low, high or log.")
        elif self.low is None or self.high is None or self.low >= self.high:
            raise ValueError("low and high are needed, low below high; or a list of values.")
        elif self.log and self.low <= 0:
            raise ValueError(f"low: {self.low:g} is not allowed with log. Allowed: more than 0.")
        return self

    @property
    def ends(self) -> list[Any]:
        """All choices, or both ends: if these are allowed, so is everything."""
        return self.choices or [self.low, self.high]


def _ranges(space: Any) -> Any:
    if not isinstance(space, dict):
        return space
    return {key: {"choices": value} if isinstance(value, list) else value for key, value in space.items()}


Space = Annotated[dict[str, Range], BeforeValidator(_ranges), Field(min_length=1)]


def _check_recipe_range(key: str, name: str, values: Range) -> None:
    try:
        check_recipe({name: values.ends})
    except ValidationError as error:
        detail = error.errors()[0]
        raise ValueError(f"{key}: {detail['input']!r} is not allowed. {detail['msg']}.") from None
    if not values.choices and Recipe.model_fields[name].annotation is not float:
        raise ValueError(f"{key}: low and high are for numbers with a fraction; give a list of values.")


class Tuning(StrictModel):
    """A search for the settings of each loss: as many trials for one as for any other, each judged by validation."""

    trials: Annotated[int, Field(ge=2, le=1000)]
    """For each loss."""
    space: dict[str, Space]
    """By loss, what is searched: its hyper-parameters, ``recipe.NAME`` and ``lambda``."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Decides which settings are tried."""

    @model_validator(mode="after")
    def _settings_exist(self) -> "Tuning":
        for loss, space in self.space.items():
            for name, values in space.items():
                if name == "lambda":
                    numbers = all(isinstance(end, int | float) and 0 < end < 1 for end in values.ends)
                    if loss == "ce" or not numbers:
                        raise ValueError(f"space.{loss}.lambda: allowed: between 0 and 1, of losses other than ce.")
                elif name.startswith("recipe."):
                    _check_recipe_range(f"space.{loss}.{name}", name.removeprefix("recipe."), values)
                else:
                    check_loss(loss, {name: values.ends})
        return self

    def check(self, losses: list[str], fixed: set[str]) -> None:
        """Checks the search against the grid that it belongs to.

        Args:
            losses: of the grid.
            fixed: settings to which the grid gives values of its own: ``recipe.NAME``.

        Raises:
            ValueError: a loss has no space or a space no loss, or a setting is both searched and given.
        """
        for loss in losses:
            if loss not in self.space:
                raise ValueError(f"tuning.space: {loss} has nothing to search; every loss of the grid needs that.")
        for loss, space in self.space.items():
            if loss not in losses:
                raise ValueError(f"tuning.space: {loss} is not in the grid.")
            if both := sorted(fixed & set(space)):
                raise ValueError(f"tuning.space.{loss}.{both[0]}: the grid also gives it a value.")
