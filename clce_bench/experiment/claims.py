"""What papers claim: the section of an experiment file, and the list that comes with the package."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from clce_bench.components.registry import CLAIMS, load
from clce_bench.errors import unknown
from clce_bench.experiment.strict_model import Name, StrictModel, Values, as_list

CLAIM_AXES = ("dataset", "images_per_class", "label_noise", "backbone", "batch_size", "loss", "lambda")
Selector = dict[str, Annotated[Values, BeforeValidator(as_list)]]
"""Cells by axis: each of the values given."""


class Claim(StrictModel):
    """A statement of a paper; each ``kind`` has a class with further keys, found by the registry."""

    id: Name
    """Its name; that of a claim of the package stands for the whole claim."""
    statement: str
    """In a sentence."""
    paper: str
    """The paper that makes the claim."""
    place: str
    """Where in the paper; what was not seen is said here."""
    kind: str = "difference"
    """How it is judged: one of the kinds of claims."""
    caveat: str = ""
    """What must be said beside every verdict."""
    primary: bool = False
    """Whether it is the question of the experiment: primary claims share half of the page's error rate."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Its share among the claims of its rank."""

    @property
    def grid_names(self) -> list[str]:
        """Grids whose cells are asked for by name."""
        return list(getattr(self, "grids", []))

    @property
    def has_error(self) -> bool:
        """Whether chance can make its verdict wrong."""
        return True

    def judge(self, summary: Any, alpha: float) -> Any:
        """Judges the claim: a :class:`clce_bench.analysis.verdicts.Verdict`.

        Args:
            summary: a row per cell.
            alpha: its share of the page's error rate, from :func:`alpha_shares`.
        """
        raise NotImplementedError


PAGE_ALPHA = 0.05
"""The chance that a page has any false verdict, at most."""


def alpha_shares(claims: Sequence[Claim]) -> list[float]:
    """Gives each claim its share of :data:`PAGE_ALPHA`, whatever the results will be.

    Primary claims share half of it and the others the other half, by weight; all share the whole where one of the two
    is missing. What is computed takes none.

    Args:
        claims: of an experiment.
    """
    ranks: dict[bool, float] = {}
    for claim in claims:
        if claim.has_error:
            ranks[claim.primary] = ranks.get(claim.primary, 0) + claim.weight
    return [
        PAGE_ALPHA / len(ranks) * claim.weight / ranks[claim.primary] if claim.has_error else 0.0 for claim in claims
    ]


def parse_claim(values: Any) -> Claim:
    """Reads a claim as its kind does.

    Raises:
        ValueError: there is no such kind, or it has other keys.
    """
    if not isinstance(values, dict):
        return Claim.model_validate(values)
    kind = str(values.get("kind", "difference"))
    if kind not in CLAIMS:
        raise ValueError(unknown("a kind of claim", kind, CLAIMS, f"Kinds: {', '.join(sorted(CLAIMS))}"))
    claim: Claim = load(CLAIMS[kind]).model_validate(values)
    return claim


def check_axis(axis: str) -> None:
    """Checks that cells can be told apart by an axis.

    Raises:
        ValueError: there is no such axis.
    """
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
        elif (name := str(given.get("id"))) in packaged_claims():
            found.append({**packaged_claims()[name], **given})
        else:
            names = ["all", *packaged_claims()]
            why = "Others need a statement, paper, place …"
            raise ValueError(
                unknown("a claim of the papers", str(given.get("id")), names, f"{why} Claims: {', '.join(names)}")
            )
    return found
