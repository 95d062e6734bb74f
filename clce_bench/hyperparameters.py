"""What a loss accepts, read from its source: a configuration is checked in milliseconds, before torch is imported."""

import ast
from collections.abc import Mapping
from numbers import Real
from typing import Any

from clce_bench.errors import UserError, unknown
from clce_bench.registry import loss_path, source_file


def hyperparameters_of(path: str) -> dict[str, Any]:
    """Reads the constructor's arguments and defaults of the class at ``module:name`` from its source.

    Args:
        path: import path of a loss.

    Returns:
        Default by argument name; ``...`` for an argument without a default.

    Raises:
        UserError: no such module, no such class in it, or a default that is not a literal.
    """
    module, _, name = path.partition(":")
    file = source_file(module)
    classes = {node.name: node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        raise UserError(f"{path}: {unknown(f'a class in {file}', name, classes)}")
    for node in classes[name].body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return _defaults(node.args, path)
    return {}


def _defaults(arguments: ast.arguments, path: str) -> dict[str, Any]:
    positional = arguments.args[1:]
    missing = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*missing, *arguments.defaults], strict=True)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    try:
        return {argument.arg: ... if node is None else ast.literal_eval(node) for argument, node in pairs}
    except ValueError:
        raise UserError(f"{path}: defaults of its constructor must be plain numbers or strings.") from None


def as_default(value: Any, default: Any) -> Any:
    """Makes a number of what stands for one: 1 where the default is 1.0, and YAML's 1e-3, which it reads as text."""
    stands_for_one = isinstance(value, str) or (isinstance(value, int) and isinstance(default, float))
    if not stands_for_one or isinstance(value, bool) or isinstance(default, str):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def check_loss(name: str, hyperparameters: dict[str, Any]) -> None:
    """Checks that a loss exists and takes these hyper-parameters.

    Args:
        name: ``ce``, a loss of :data:`clce_bench.registry.LOSSES` or an import path.
        hyperparameters: value, or list of values, by name.

    Raises:
        ValueError: an unknown name or a value outside its range.
    """
    allowed: dict[str, Any] = {}
    if name != "ce":
        try:
            allowed = hyperparameters_of(loss_path(name))
        except UserError as error:
            raise ValueError(str(error)) from None
    for key, value in hyperparameters.items():
        if key not in allowed:
            listing = f"Keys: {', '.join(sorted(['name', 'recipe', *allowed]))}"
            raise ValueError(unknown(f"a key of {name!r}", key, ["name", "recipe", *allowed], listing))
        for single in value if isinstance(value, list) else [value]:
            check_hyperparameters({key: as_default(single, allowed[key])})


def check_hyperparameters(values: Mapping[str, Any]) -> None:
    """Checks hyper-parameters whose names have a fixed meaning: the same rule for every loss, user losses included.

    Args:
        values: value by hyper-parameter name; names without a rule pass.

    Raises:
        ValueError: a value is outside its range; the message names it and says what is allowed.
    """
    for name, value in values.items():
        if name == "positives" and value not in ("outside", "inside"):
            raise ValueError(f"positives: {value!r} is not allowed. Allowed: 'outside', 'inside'.")
        if name == "temperature" and not _number(value, least=1e-6):
            raise ValueError(f"temperature: {value!r} is not allowed. Allowed: a finite number of at least 1e-6.")
        if name == "tau_plus" and not (_number(value, least=0) and value < 1):
            raise ValueError(f"tau_plus: {value!r} is not allowed. Allowed: a number from 0 to below 1.")
        if name in ("beta", "k1", "k2") and not _number(value, least=0):
            raise ValueError(f"{name}: {value!r} is not allowed. Allowed: a finite number of at least 0.")


def _number(value: Any, least: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and least <= float(value) < float("inf")
