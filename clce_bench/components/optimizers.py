"""The optimisers that a recipe may name: timm's, as its source lists them, so that torch need not be imported."""

import ast
from functools import cache
from typing import Any

from clce_bench.components.class_source import definitions_of
from clce_bench.components.registry import source_file
from clce_bench.errors import UserError, unknown

_FACTORY = "timm.optim._optim_factory"
_GIVEN = ("params", "lr", "weight_decay", "momentum")
"""Arguments that the recipe has keys of its own for, or that no file can give."""


@cache
def optimizers() -> dict[str, str]:
    """Lists optimisers by name, with the import path of the class of each.

    Those that need another package or second derivatives are left out.
    """
    tree = ast.parse(source_file(_FACTORY).read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "OptimInfo")
    found = {}
    for call in calls:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        name, second = given.get("name"), given.get("second_order")
        path = _path(given.get("opt_class"))
        if path and isinstance(name, ast.Constant) and not (isinstance(second, ast.Constant) and second.value):
            found[str(name.value)] = path
    return found


def _path(node: ast.expr | None) -> str:
    """Returns where an expression such as ``Lamb`` or ``torch.optim.SGD`` leads; nothing for another package's."""
    if isinstance(node, ast.Name):
        return f"{_FACTORY}:{node.id}"
    if isinstance(node, ast.Attribute):
        return f"{ast.unparse(node.value)}:{node.attr}"
    return ""


def known_optimizer(name: str) -> str:
    """Returns the name of an optimiser.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in optimizers():
        raise ValueError(unknown("an optimiser", name, optimizers(), f"Optimisers: {', '.join(sorted(optimizers()))}"))
    return name


@cache
def arguments_of(name: str) -> frozenset[str]:
    """Names what an optimiser's constructor takes."""
    constructor = next(definitions_of(optimizers()[name], "__init__"))
    arguments = (*constructor.args.args, *constructor.args.kwonlyargs)
    return frozenset(argument.arg for argument in arguments) - {"self"}


def check_options(name: str, options: dict[str, Any]) -> None:
    """Checks that an optimiser takes these options.

    Raises:
        UserError: it has no such option.
    """
    allowed = sorted(arguments_of(name) - {*_GIVEN})
    for key in options:
        if key not in allowed:
            listing = f"Options: {', '.join(allowed)}"
            raise UserError(f"recipe.optimizer_options: {unknown(f'an option of {name}', key, allowed, listing)}")
