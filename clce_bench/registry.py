"""Names to components, without importing them.

A component is found by its name here, or by an import path ``my_pkg.my_module:Name`` of the user's. What a loss accepts
is read from its source, so that a configuration is checked in milliseconds, before torch is imported.
"""

import ast
import importlib
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clce_bench.errors import UserError, unknown

LOSSES: dict[str, str] = {
    "clce": "clce_bench.losses.clce:CLCE",
    "schane": "clce_bench.losses.schane:SCHaNe",
    "supcon": "clce_bench.losses.supcon:SupCon",
    "tcl": "clce_bench.losses.tcl:TCL",
}

DATASETS: dict[str, str] = {
    "digits": "clce_bench.data.digits:DIGITS",
    "openmoji": "clce_bench.data.openmoji:OPENMOJI",
    "openmoji-fs": "clce_bench.data.openmoji:OPENMOJI_FEW_SHOT",
}


def load(path: str) -> Any:
    """Imports the component at ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def loss_path(name: str) -> str:
    """Returns the import path of a contrastive loss given by name or by path.

    Raises:
        UserError: no loss has this name.
    """
    if ":" in name:
        return name
    if name in LOSSES:
        return LOSSES[name]
    names = ["ce", *LOSSES]
    listing = f"Losses: {', '.join(sorted(names))}, or a path like my_pkg.my_loss:MyLoss"
    raise UserError(unknown("a loss", name, names, listing))


def load_dataset(name: str) -> Any:
    """Imports the data set with this name.

    Raises:
        UserError: no data set has this name.
    """
    if name not in DATASETS:
        raise UserError(unknown("a data set", name, DATASETS))
    return load(DATASETS[name])


def source_file(module: str) -> Path:
    """Finds a module's source file without importing the module or its parents.

    Raises:
        UserError: there is no such module.
    """
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is not None and not rest and spec.origin:
        return Path(spec.origin)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        base = Path(folder, *rest)
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.exists():
                return candidate
    raise UserError(f"{module}: there is no such Python module; looked in {', '.join(sys.path[:3])} …")


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
        if name == "temperature" and not _number(value, above=0):
            raise ValueError(f"temperature: {value!r} is not allowed. Allowed: a finite number above 0.")
        if name in ("beta", "k1", "k2") and not _number(value, least=0):
            raise ValueError(f"{name}: {value!r} is not allowed. Allowed: a finite number of at least 0.")


def _number(value: Any, above: float | None = None, least: float | None = None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        return False
    return (above is None or value > above) and (least is None or value >= least)
