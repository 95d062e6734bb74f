"""What all parts of an experiment file share."""

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clce_bench.errors import unknown

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
"""Part of a file's name."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""As large as tables can hold."""
Probability = Annotated[float, Field(ge=0, le=1)]


Values = Annotated[list[Any], Field(min_length=1)]
"""What a cell may have to be among those that are meant: at least one value."""


def as_list(value: Any) -> list[Any]:
    """Makes a list of a single value."""
    return value if isinstance(value, list) else [value]


class StrictModel(BaseModel):
    """A mapping whose unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, allow_inf_nan=False)
    replaced_keys: ClassVar[frozenset[str]] = frozenset()
    """What else a file may say here: keys that are replaced by values before those are checked."""

    @property
    def unused(self) -> set[str]:
        """Fields that decide nothing, given the others: what is made from it does not have them."""
        return set()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copies the values, and nothing that was worked out from the old ones."""
        copied = super().model_copy(update=update, deep=deep)
        for name in vars(copied).keys() - type(self).model_fields.keys():
            del vars(copied)[name]
        return copied

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, dict) and cls.model_config.get("extra") != "allow":
            keys = _keys(cls)
            for key, value in values.items():
                if key not in keys and key not in cls.model_fields:
                    known = keys | cls.replaced_keys
                    raise ValueError(unknown("a key", str(key), known, f"Keys: {', '.join(sorted(known))}"))
                if any(item is True or item is False for item in as_list(value)) and key in _numbers(cls):
                    raise ValueError(f"{key}: true and false are not allowed. Input should be a number.")
        return values


@cache
def _keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@cache
def _numbers(model: type[BaseModel]) -> set[str]:
    """Names the fields that take numbers and no truth values, which Python, and so pydantic, would take for 1 and 0."""
    fields = {key: field for name, field in model.model_fields.items() for key in (name, field.alias or name)}
    taken = {key: _types(field.annotation) for key, field in fields.items()}
    return {key for key, types in taken.items() if types & {int, float} and not types & {bool, Any}}


def _types(annotation: Any) -> set[Any]:
    inner = [found for part in get_args(annotation) for found in _types(part)]
    return {annotation, *inner} if isinstance(annotation, Hashable) else set(inner)
