"""JSON schemas of components that an experiment file names: losses, figures and claims, each with keys of its own."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from clce_bench.components.hyperparameters import (
    ALLOWED,
    documented_arguments,
    hyperparameters_of,
    is_self_supervised,
    words_of,
)
from clce_bench.components.loss_info import LOSSES, WITHOUT_CODE
from clce_bench.components.registry import CLAIMS, FIGURES, load, load_figure
from clce_bench.experiment.claims import CLAIM_AXES, packaged_claims
from clce_bench.experiment.recipes import Recipe

Schema = dict[str, Any]


def one_or_more(array: Schema) -> Schema:
    """Allows a single value for a list of it."""
    return {"anyOf": [array["items"], {"type": "array", **array}]}


def named_or_path(names: Iterable[str], description: str) -> Schema:
    """Describes a name of a component, or an import path."""
    return {"type": "string", "anyOf": [{"enum": sorted(names)}, {"pattern": ":"}], "description": description}


def loss_name() -> Schema:
    """Describes the name of a loss."""
    return named_or_path(LOSSES, "a loss, or module:NAME")


def loss_schemas(base: Schema) -> dict[str, Schema]:
    """Describes each loss with its hyper-parameters, ``Loss.NAME``, and any of them, ``Loss``.

    Args:
        base: the schema of the model of a loss.
    """
    found = {f"Loss.{name}": _loss(base, name) for name in LOSSES}
    own = {"properties": {"name": loss_name()}, "required": ["name"]}
    return {**found, "Loss": {"type": "object", **own, "allOf": _by("name", LOSSES, "Loss")}}


def _loss(base: Schema, name: str) -> Schema:
    schema = deepcopy(base)
    path = LOSSES[name].path
    keys, documented = (hyperparameters_of(path), documented_arguments(path)) if path else ({}, {})
    words = words_of(path) if path else {}
    labels = {"enum": ["images"] if path and is_self_supervised(path) else ["classes"]}
    schema["properties"]["name"] |= {"const": name}
    if name in WITHOUT_CODE or labels["enum"] == ["images"]:
        schema["properties"]["labels"] |= one_or_more({"items": labels})
    for key, default in keys.items():
        single = ALLOWED[key].schema if key in ALLOWED else {}
        if key in words and "type" in single:
            single = {"anyOf": [single, {"enum": words[key]}]}
        values = one_or_more({"items": single, "minItems": 1})
        told = {"description": documented.get(key, "")}
        schema["properties"][key] = {**values, **told, **({} if default is ... else {"default": default})}
    schema["additionalProperties"] = False
    return schema


def searched_keys(recipe: Schema) -> Schema:
    """Describes what may be searched of any loss: the values of its recipe, and λ.

    Args:
        recipe: schema by key of a recipe.
    """
    fields = Recipe.model_fields
    ranges = {f"recipe.{key}": _range(recipe[key], field.annotation is float) for key, field in fields.items()}
    weight = _range({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, True)
    return {"properties": {**ranges, "lambda": weight}}


def search_space(searched: Schema) -> Schema:
    """Describes ``tuning.space``: for each loss the ranges of its hyper-parameters, of its recipe's values and of λ.

    Args:
        searched: :func:`searched_keys`, to which it refers as ``Searched``.
    """
    common = {key: {"$ref": f"#/$defs/Searched/properties/{key}"} for key in searched["properties"]}
    spaces = {}
    for name, info in LOSSES.items():
        keys = hyperparameters_of(info.path) if info.path else {}
        own = {key: _range(ALLOWED[key].schema, "type" in ALLOWED[key].schema) for key in keys if key in ALLOWED}
        ranges = {key: values for key, values in common.items() if name != "ce" or key != "lambda"}
        spaces[name] = {"type": "object", "properties": ranges | own, "additionalProperties": False, "minProperties": 1}
    return {
        "type": "object",
        "properties": spaces,
        "patternProperties": {":": {"type": "object"}},
        "additionalProperties": False,
    }


def _range(value: Schema, continuous: bool) -> Schema:
    bare = {key: part for key, part in value.items() if key not in ("description", "default")}
    choices = {"type": "array", "items": bare, "minItems": 1}
    keys = {"low": bare, "high": bare, "log": {"type": "boolean"}}
    ends = {"type": "object", "properties": keys, "required": ["low", "high"], "additionalProperties": False}
    listed = {"type": "object", "properties": {"choices": choices}, "required": ["choices"]}
    return {"anyOf": [choices, {**listed, "additionalProperties": False}, *([ends] if continuous else [])]}


def figure_schemas(generator: type[GenerateJsonSchema]) -> dict[str, Schema]:
    """Describes each kind of figure, ``Figure.KIND``, and any of them, ``Figure``."""
    found = {}
    for kind in FIGURES:
        schema = load_figure(kind).model_json_schema(schema_generator=generator)
        schema["properties"]["kind"] |= {"const": kind}
        schema["required"].remove("name")  # The reader makes one of kind and grid.
        found[f"Figure.{kind}"] = schema
    any_kind = {"kind": named_or_path(FIGURES, "a kind of figure, or module:NAME")}
    required = {"type": "object", "properties": any_kind, "required": ["kind"]}
    return {**found, "Figure": {**required, "allOf": _by("kind", FIGURES, "Figure")}}


def claim_schemas(generator: type[GenerateJsonSchema]) -> dict[str, Schema]:
    """Describes each kind of claim, ``Claim.KIND``, and any claim, ``Claim``.

    A claim that comes with the package is chosen by its ``id``, alone or with some keys: ``PackagedClaim.KIND``.
    """
    packaged: dict[str, list[str]] = {kind: [] for kind in CLAIMS}
    for name, values in packaged_claims().items():
        packaged[values.get("kind", "difference")].append(name)
    found, choices = {}, []
    for kind, path in CLAIMS.items():
        schema = load(path).model_json_schema(schema_generator=generator)
        keys = schema["properties"]
        keys["kind"] |= {"const": kind}
        for selector in {"first", "second", "where"} & set(keys):
            keys[selector]["propertyNames"] = _axis()
        if "over" in keys:
            keys["over"] |= _axis()
        full, some = f"Claim.{kind}", f"PackagedClaim.{kind}"
        found[full] = schema
        found[some] = {key: value for key, value in schema.items() if key != "required"}
        own = _kind_is(kind)
        chosen = {"anyOf": [own, {"not": {"required": ["kind"]}, "properties": {"id": {"enum": packaged[kind]}}}]}
        told = {"required": ["statement"]}
        default = {"not": {"required": ["kind"]}} if kind == "difference" else False
        choices += [
            {"if": {**told, "anyOf": [own, default]}, "then": {"$ref": f"#/$defs/{full}"}},
            {"if": {"not": told, "required": ["id"], **chosen}, "then": {"$ref": f"#/$defs/{some}"}},
        ]
    names = ["all", *packaged_claims()]
    kinds = {"properties": {"id": {"type": "string"}, "kind": {"enum": list(CLAIMS)}}, "required": ["id"]}
    theirs = {"if": {"not": {"required": ["statement"]}}, "then": {"properties": {"id": {"enum": names}}}}
    claim = {"type": "object", **kinds, "allOf": [theirs, *choices]}
    return {**found, "Claim": {"anyOf": [{"enum": names}, claim]}}


def _axis() -> Schema:
    return {"anyOf": [{"enum": list(CLAIM_AXES)}, {"pattern": r"^(loss|recipe)\."}]}


def _kind_is(kind: str) -> Schema:
    return {"required": ["kind"], "properties": {"kind": {"const": kind}}}


def _by(key: str, names: Iterable[str], family: str) -> list[Schema]:
    """Applies to each name the schema ``FAMILY.NAME``."""
    return [
        {
            "if": {"required": [key], "properties": {key: {"const": name}}},
            "then": {"$ref": f"#/$defs/{family}.{name}"},
        }
        for name in names
    ]
