"""What papers claim: the section of an experiment file, and the list that comes with the package."""

from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, field_validator, model_validator

from clce_bench.errors import unknown
from clce_bench.experiment.strict_model import Name, StrictModel, as_list

CLAIM_AXES = ("dataset", "images_per_class", "backbone", "batch_size", "loss", "lambda")
Selector = dict[str, Annotated[list[Any], BeforeValidator(as_list)]]
"""Cells by axis: each of the values given."""


class Claim(StrictModel):
    """A statement of a paper that cells can speak to."""

    id: Name
    statement: str
    """In a sentence."""
    paper: str
    place: str
    """Where in the paper; what was not seen is said here."""
    kind: Literal["difference", "largest_gain", "steadier", "interior", "theorem"] = "difference"
    """``difference``: ``first`` is above ``second`` wherever both are. ``largest_gain``: its largest value over the
    data sets is ``value``. ``steadier``: ``first`` changes less than ``second`` along ``over``. ``interior``: along
    ``over``, ``first`` is best neither at the one end nor at the other. ``theorem``: ``theorem`` holds."""
    first: Selector = {}
    second: Selector = {}
    where: Selector = {}
    """Holds for both sides."""
    grids: Annotated[list[str], BeforeValidator(as_list)] = []
    """Grids whose cells speak to it; all without hazards when not given."""
    metric: Annotated[list[str], BeforeValidator(as_list)] = []
    """Names in ``metrics.json``; each that both sides have is a comparison of its own."""
    over: str = ""
    value: float | None = None
    """In points."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How many points ``first`` may lie below ``second``, or the largest gain away from ``value``."""
    theorem: Literal["", "tcl-positive-gradient", "tcl-negative-gradient"] = ""

    @field_validator("first", "second", "where")
    @classmethod
    def _known_axes(cls, selector: Selector) -> Selector:
        for axis in selector:
            _check_axis(axis)
        return selector

    @model_validator(mode="after")
    def _complete(self) -> "Claim":
        needed = {
            "difference": ("first", "second", "metric"),
            "largest_gain": ("first", "second", "metric", "value"),
            "steadier": ("first", "second", "metric", "over"),
            "interior": ("first", "metric", "over"),
            "theorem": ("theorem",),
        }[self.kind]
        for key in needed:
            if getattr(self, key) in ("", None, {}, []):
                raise ValueError(f"{key}: this key is required for kind {self.kind!r}.")
        if self.over:
            _check_axis(self.over)
        return self


def _check_axis(axis: str) -> None:
    if axis not in CLAIM_AXES and not axis.startswith(("loss.", "recipe.")):
        listing = f"Allowed: {', '.join(CLAIM_AXES)}, loss.NAME, recipe.NAME"
        raise ValueError(unknown("an axis", axis, CLAIM_AXES, listing))


@cache
def packaged_claims() -> dict[str, dict[str, Any]]:
    """Reads the claims of the papers, ``data_files/claims.yaml``, by their ``id``."""
    text = (files("clce_bench") / "data_files" / "claims.yaml").read_text(encoding="utf-8")
    return {claim["id"]: claim for claim in yaml.safe_load(text)}


def expand_claims(claims: Any) -> Any:
    """Replaces the ``id`` of a packaged claim, alone or with other keys, by the claim; ``all`` stands for all of them.

    Raises:
        ValueError: there is no such claim.
    """
    found: list[Any] = []
    for claim in as_list(claims):
        given = {"id": claim} if isinstance(claim, str) else claim
        if not isinstance(given, dict) or "statement" in given:
            found.append(given)
        elif given.get("id") == "all":
            found += packaged_claims().values()
        elif given.get("id") in packaged_claims():
            found.append({**packaged_claims()[given["id"]], **given})
        else:
            names = ["all", *packaged_claims()]
            why = "Others need a statement, paper, place …"
            raise ValueError(
                unknown("a claim of the papers", str(given.get("id")), names, f"{why} Claims: {', '.join(names)}")
            )
    return found
