"""Seeds until claims are decided: the ``seed`` of a grid as a schedule of rounds instead of a list."""

from typing import Annotated

from pydantic import Field, model_validator

from clce_bench.experiment.strict_model import StrictModel


class SeedRounds(StrictModel):
    """The seeds 0, 1, 2, … in rounds: only what undecided claims compare gets those of the next."""

    first: Annotated[int, Field(ge=3)]
    """Seeds of the first round, which all settings get; below three there is no interval."""
    step: Annotated[int, Field(ge=1)]
    """Seeds that each further round adds."""
    most: Annotated[int, Field(ge=3, le=1000)]
    """Seeds after which no more are added, decided or not."""

    @model_validator(mode="after")
    def _in_order(self) -> "SeedRounds":
        if self.most <= self.first:
            raise ValueError(f"most: {self.most} is not allowed. Allowed: more than first, which is {self.first}.")
        return self

    @property
    def counts(self) -> list[int]:
        """How many seeds there are after each round; at each claims are looked at."""
        return [*range(self.first, self.most, self.step), self.most]
