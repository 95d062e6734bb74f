"""Some values of a recipe, written alone or as a preset's name, to lay over those of another."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from clce_bench.errors import unknown
from clce_bench.experiment.recipes import Recipe, named
from clce_bench.experiment.strict_model import as_list


def expand_preset(recipe: Any) -> Any:
    """Replaces the name of a preset, alone or as the key ``preset``, by its values; other keys win over them.

    Raises:
        ValueError: there is no such preset.
    """
    values = {"preset": recipe} if isinstance(recipe, str) else recipe
    if not isinstance(values, dict) or "preset" not in values:
        return values
    name, presets = values["preset"], named("recipes")
    if not isinstance(name, str) or name not in presets:
        raise ValueError(unknown("a recipe", str(name), presets, f"Recipes: {', '.join(sorted(presets))}"))
    return lay_over(presets[name], {key: value for key, value in values.items() if key != "preset"})


def lay_over(recipe: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Lays values over those of a recipe; ``steps`` replaces ``epochs``, and the other way round."""
    replaced = {other for key, other in (("steps", "epochs"), ("epochs", "steps")) if values.get(key) is not None}
    return {**{key: value for key, value in recipe.items() if key not in replaced}, **values}


def check_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """Checks recipe values, each single or a list of alternatives, and returns them.

    Raises:
        ValueError: an unknown key or a value outside its range.
    """
    if recipe.get("epochs") is not None and recipe.get("steps") is not None:
        raise ValueError("epochs and steps cannot both be given: each says how long to train.")
    for key, value in recipe.items():
        if value == []:
            raise ValueError(f"{key}: an empty list is not allowed: it would leave no cell.")
        for single in as_list(value):
            Recipe.model_validate({key: single})
    return recipe


RecipeValues = Annotated[dict[str, Any], BeforeValidator(expand_preset), AfterValidator(check_recipe)]
"""Some values of a recipe, to lay over others; the name of a preset stands for its values."""
