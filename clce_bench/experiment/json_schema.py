"""Experiment files as a JSON schema, with which editors complete and check them while they are written.

The schema follows the reader: single values for lists of one, names of presets, keys of components that come with the
package. What only the reader can check is left to it: names of grids, values that must go together, code of the user's.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from clce_bench.components.registry import DATASETS
from clce_bench.experiment.attribute_docstrings import attribute_docstrings
from clce_bench.experiment.component_schemas import (
    claim_schemas,
    figure_schemas,
    loss_name,
    loss_schemas,
    named_or_path,
    one_or_more,
    search_space,
    searched_keys,
)
from clce_bench.experiment.hazards import HAZARDS
from clce_bench.experiment.recipes import named
from clce_bench.experiment.schema import Experiment, as_losses
from clce_bench.experiment.strict_model import StrictModel, as_list

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The version of JSON Schema that all editors know."""


class ReaderSchema(GenerateJsonSchema):
    """Writes what the reader takes rather than what it makes of that."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Allows a single value where the reader makes a list of it."""
        inner = super().function_before_schema(schema)
        return one_or_more(inner) if schema["function"]["function"] in (as_list, as_losses) else inner

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Refuses unknown keys, and takes descriptions from the docstrings below the fields."""
        found, model = super().model_schema(schema), schema["cls"]
        if issubclass(model, StrictModel):
            found.setdefault("additionalProperties", False)
            for field, text in attribute_docstrings(model).items():
                found["properties"][model.model_fields[field].alias or field]["description"] = text
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A title that repeats the key is of no use."""
        return False


def experiment_schema() -> dict[str, Any]:
    """Returns the JSON schema of experiment files."""
    schema = Experiment.model_json_schema(schema_generator=ReaderSchema)
    defs, keys = schema["$defs"], schema["properties"]
    _add_recipes(defs)
    recipes = {"enum": sorted(named("recipes"))}
    keys["recipe"] |= {"anyOf": [recipes, {"$ref": keys["recipe"].pop("$ref")}]}
    for owner in ("Grid", "Loss", "DatasetOptions"):
        _say(defs[owner]["properties"], "recipe", {"$ref": "#/$defs/RecipeValues"})
    grid, dataset = (
        defs["Grid"]["properties"],
        named_or_path(DATASETS, "a data set, folder:PATH, torchvision:NAME, hf:OWNER/NAME, or module:NAME"),
    )
    _say(grid, "dataset", one_or_more({"type": "array", "items": dataset, "minItems": 1}))
    backbone = {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/Backbone"}]}
    _say(grid, "backbone", one_or_more({"type": "array", "items": backbone}))
    _say(grid, "hazards", one_or_more({"type": "array", "items": {"enum": [str(hazard) for hazard in HAZARDS]}}))
    _say(keys, "datasets", {**keys["datasets"], "propertyNames": dataset})

    base = defs.pop("Loss")
    losses = loss_schemas(base)
    defs |= losses
    loss = {"anyOf": [loss_name(), {"$ref": "#/$defs/Loss"}]}
    _say(grid, "loss", one_or_more({"type": "array", "items": loss, "minItems": 1}))
    known = {name.removeprefix("Loss."): {"$ref": f"#/$defs/{name}"} for name in losses if name != "Loss"}
    own = {"patternProperties": {":": {"type": "object"}}, "additionalProperties": False}
    _say(keys, "losses", {"type": "object", "properties": known, **own})
    defs["Searched"] = searched_keys(defs["Recipe"]["properties"])
    _say(defs["Tuning"]["properties"], "space", search_space(defs["Searched"]))
    for name, kinds in (("Figure", figure_schemas), ("Claim", claim_schemas)):
        defs.pop(name)
        defs |= kinds(ReaderSchema)
    _say(keys, "figures", {"type": "array", "items": {"$ref": "#/$defs/Figure"}})
    _say(keys, "claims", one_or_more({"type": "array", "items": {"$ref": "#/$defs/Claim"}}))
    return {"$schema": DIALECT, **schema, "title": "An experiment of clce_bench"}


def _say(properties: dict[str, Any], key: str, schema: dict[str, Any]) -> None:
    """Puts another schema in the place of a key's, whose description and default stay."""
    kept = {part: properties[key][part] for part in ("description", "default") if part in properties[key]}
    properties[key] = {**schema, **kept}


def _add_recipes(defs: dict[str, Any]) -> None:
    """Lets presets be named, and adds ``RecipeValues``: some values of a recipe, each single or a list."""
    recipe = defs["Recipe"]
    augmentation = {"anyOf": [{"enum": sorted(named("augmentations"))}, {"$ref": "#/$defs/Augmentation"}]}
    _say(recipe["properties"], "augmentation", augmentation)
    _say(defs["DatasetOptions"]["properties"], "augmentation", augmentation)
    start = {"enum": sorted(named("augmentations")), "description": "The name of one; the keys beside it win over it."}
    defs["Augmentation"]["properties"] = {"preset": start, **defs["Augmentation"]["properties"]}
    preset = {"enum": sorted(named("recipes")), "description": "The name of a recipe; the keys beside it win over it."}
    length = {"not": {"required": ["epochs", "steps"], "properties": {"epochs": {"type": "integer"}}}}
    values = {
        key: {"description": value.get("description", ""), **one_or_more({"items": _bare(value), "minItems": 1})}
        for key, value in recipe["properties"].items()
    }
    recipe["properties"] = {"preset": preset, **recipe["properties"]}
    recipe |= length
    some = {"type": "object", "properties": {"preset": preset, **values}, "additionalProperties": False, **length}
    text = "Some values of a recipe, or the name of one; a list of values means one cell per value."
    defs["RecipeValues"] = {"description": text, "anyOf": [{"enum": preset["enum"]}, some]}


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in ("description", "default")}
