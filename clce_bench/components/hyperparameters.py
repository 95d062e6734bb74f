"""What a loss accepts, read from its source: a configuration is checked in milliseconds, before torch is imported."""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any, NamedTuple

from clce_bench.components.class_source import definitions_of, family, methods_of
from clce_bench.components.loss_info import WITHOUT_CODE
from clce_bench.components.registry import loss_path
from clce_bench.errors import UserError, unknown

EMBEDDING_SIZE = "embedding_size"
"""The argument of a constructor by which a loss asks how wide embeddings are; training says it where no value is."""


class Allowed(NamedTuple):
    """The values that a hyper-parameter may have.

    Attributes:
        told: in words.
        holds: says of a value whether it is one.
        schema: as a JSON schema.
    """

    told: str
    holds: Callable[[Any], bool]
    schema: dict[str, Any]


def _number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)
    except OverflowError:  # An integer larger than any float.
        return False


_AT_LEAST_0 = Allowed(
    "a finite number of at least 0", lambda value: _number(value) and value >= 0, {"type": "number", "minimum": 0}
)
_COUNT = Allowed(
    "a whole number of at least 1",
    lambda value: isinstance(value, int) and _number(value) and value >= 1,
    {"type": "integer", "minimum": 1},
)
ALLOWED = {
    "temperature": Allowed(
        "a finite number of at least 1e-6",
        lambda value: _number(value) and value >= 1e-6,
        {"type": "number", "minimum": 1e-6},
    ),
    "beta": _AT_LEAST_0,
    "k1": _AT_LEAST_0,
    "k2": _AT_LEAST_0,
    "redundancy": _AT_LEAST_0,
    "invariance": _AT_LEAST_0,
    "variance": _AT_LEAST_0,
    "covariance": _AT_LEAST_0,
    EMBEDDING_SIZE: _COUNT,
    "predictor_size": _COUNT,
    "queue_size": _COUNT,
    "momentum": Allowed(
        "a number from 0 to 1",
        lambda value: _number(value) and 0 <= value <= 1,
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    "tau_plus": Allowed(
        "a number from 0 to below 1",
        lambda value: _number(value) and 0 <= value < 1,
        {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    ),
    "positives": Allowed(
        "'outside', 'inside'", lambda value: value in ("outside", "inside"), {"enum": ["outside", "inside"]}
    ),
}
"""By name of a hyper-parameter, what it may be in every loss."""

MOMENTUM_EMBEDDINGS = "momentum_embeddings"
"""The argument of ``forward`` by which a loss asks for what a momentum encoder makes of the same rows."""

# How a loss is called, and what the base class of the losses here calls.
_CALLED = {"forward": ("embeddings", "labels"), "per_anchor": ("pairs",)}


def hyperparameters_of(path: str) -> dict[str, Any]:
    """Reads the constructor's arguments and defaults of the class at ``module:name`` from its source.

    Args:
        path: import path of a loss.

    Returns:
        Default by argument name; ``...`` for an argument without a default.

    Raises:
        UserError: no such module, no Python, no such class in it, or a default that is not a literal.
    """
    found: dict[str, Any] = {}
    for constructor in definitions_of(path, "__init__"):
        found = {**_defaults(constructor.args, path), **found}
        if not (constructor.args.vararg and constructor.args.kwarg):
            break  # With ``*args, **kwargs`` it passes on to its base what it does not name.
    return found


def words_of(path: str) -> dict[str, list[str]]:
    """Reads which words the constructor of the class at ``module:name`` takes, argument by argument.

    Args:
        path: import path of a loss.

    Returns:
        By argument, the strings of the ``Literal`` in its annotation, if there is one: ``["learned"]`` of ``float |
        Literal["learned"]``.
    """
    constructor = methods_of(path).get("__init__")
    found: dict[str, list[str]] = {}
    for argument in constructor.args.args if constructor else []:
        for node in ast.walk(argument.annotation) if argument.annotation else ():
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal"):
                constants = (part.value for part in ast.walk(node.slice) if isinstance(part, ast.Constant))
                found[argument.arg] = [word for word in constants if isinstance(word, str)]
    return found


def documented_arguments(path: str) -> dict[str, str]:
    """Reads what the docstring of the class at ``module:name`` says of each argument, its Google-style ``Args:``."""
    text = ast.get_docstring(next(family(path))) or ""
    section = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
    lines = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in lines}


def is_self_supervised(path: str) -> bool:
    """Says whether the loss at ``module:name`` sets ``self_supervised = True``: its labels are images, not classes."""
    for node in family(path):
        for line in node.body:
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == "self_supervised" for target in targets):
                value = getattr(line, "value", None)
                return isinstance(value, ast.Constant) and value.value is True
    return False


def has_momentum_encoder(path: str) -> bool:
    """Says whether the loss at ``module:name`` compares with a momentum encoder: its ``forward`` says so."""
    forward = methods_of(path).get("forward")
    return forward is not None and MOMENTUM_EMBEDDINGS in [argument.arg for argument, _ in _positional(forward.args)]


def _defaults(arguments: ast.arguments, path: str) -> dict[str, Any]:
    found = {}
    for argument, node in [*_positional(arguments), *_by_name(arguments)]:
        try:
            found[argument.arg] = ... if node is None else ast.literal_eval(node)
            # What identifies a cell is JSON, which has no infinity.
            json.dumps(None if node is None else found[argument.arg], allow_nan=False)
        except (ValueError, TypeError):
            told = f"{argument.arg}={ast.unparse(node) if node else ''}"
            allowed = "Defaults of a constructor are plain, finite numbers or strings."
            raise UserError(f"{path}: the default {told} is not allowed. {allowed}") from None
    return found


def _positional(arguments: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    """Lists arguments after ``self`` with their defaults."""
    names = [*arguments.posonlyargs, *arguments.args]
    missing = [None] * (len(names) - len(arguments.defaults))
    return list(zip(names, [*missing, *arguments.defaults], strict=True))[1:]


def _by_name(arguments: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    return list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _check_calls(path: str) -> None:
    """Checks that a loss can be called as it will be.

    Raises:
        UserError: one of its methods takes other arguments, or it says not how a momentum encoder follows.
    """
    methods, momentum = methods_of(path), has_momentum_encoder(path)
    if momentum and "momentum_at" not in methods:
        raise UserError(
            f"{path}: forward(…, {MOMENTUM_EMBEDDINGS}) needs a method momentum_at(self, progress) beside it."
        )
    for name, given in _CALLED.items():
        if name not in methods:
            continue
        given += (MOMENTUM_EMBEDDINGS,) if name == "forward" and momentum else ()
        arguments = methods[name].args
        positional = _positional(arguments)
        least = sum(default is None for _, default in positional)
        most = len(given) if arguments.vararg else len(positional)
        if not least <= len(given) <= most or any(default is None for _, default in _by_name(arguments)):
            takes = ast.unparse(arguments)
            raise UserError(f"{path}: {name}({takes}) is not allowed. Expected: {name}(self, {', '.join(given)}).")


def as_default(value: Any, default: Any) -> Any:
    """Makes a number of what stands for one: 1 where the default is 1.0, and YAML's 1e-3, which it reads as text."""
    stands_for_one = isinstance(value, str) or (isinstance(value, int) and isinstance(default, float))
    if not stands_for_one or isinstance(value, bool) or isinstance(default, str):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return value


def check_loss(name: str, hyperparameters: dict[str, Any], labels: Sequence[str] = ()) -> None:
    """Checks that a loss exists, can be called as a loss, and takes these hyper-parameters.

    Args:
        name: a loss of :data:`clce_bench.components.loss_info.LOSSES` or an import path.
        hyperparameters: value, or list of values, by name.
        labels: what says which rows are positives, ``classes`` or ``images``.

    Raises:
        ValueError: an unknown name, other arguments than a loss is given, or a value outside its range.
    """
    allowed: dict[str, Any] = {}
    words: dict[str, list[str]] = {}
    refused = "images" if name in WITHOUT_CODE else ""
    if name not in WITHOUT_CODE:
        try:
            path = loss_path(name)
            allowed, words = hyperparameters_of(path), words_of(path)
            _check_calls(path)
            refused = "classes" if is_self_supervised(path) else ""
        except UserError as error:
            raise ValueError(str(error)) from None
    if refused in labels:
        other = "classes" if refused == "images" else "images"
        raise ValueError(f"labels: {refused!r} is not allowed for {name}. Allowed: {other!r}.")
    for key, value in hyperparameters.items():
        if key not in allowed:
            keys = sorted(["name", "recipe", "labels", *allowed])
            raise ValueError(unknown(f"a key of {name!r}", key, keys, f"Keys: {', '.join(keys)}"))
        if value == []:
            raise ValueError(f"{key}: an empty list is not allowed: it would leave no cell.")
        for single in value if isinstance(value, list) else [value]:
            if single not in words.get(key, ()):
                check_hyperparameters({key: as_default(single, allowed[key])})


def check_hyperparameters(values: Mapping[str, Any]) -> None:
    """Checks hyper-parameters whose names have a fixed meaning: the same rule for every loss, user losses included.

    Args:
        values: value by hyper-parameter name; names without a rule pass.

    Raises:
        ValueError: a value is outside its range; the message names it and says what is allowed.
    """
    for name, value in values.items():
        if name in ALLOWED and not ALLOWED[name].holds(value):
            raise ValueError(f"{name}: {value!r} is not allowed. Allowed: {ALLOWED[name].told}.")
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{name}: {value!r} is not allowed. Allowed: a finite number.")
