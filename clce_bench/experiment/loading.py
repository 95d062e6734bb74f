"""Reading experiment files, and saying what is wrong with them."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from clce_bench.errors import UserError
from clce_bench.experiment.schema import Experiment


def parse_experiment(values: Any, source: str) -> Experiment:
    """Checks the content of an experiment file.

    Args:
        values: the parsed YAML.
        source: the file's name, for messages.

    Raises:
        UserError: one line per mistake: file, key, value, what is allowed.
    """
    if not isinstance(values, dict):
        raise UserError(f"{source}: an experiment is a mapping of keys; found {type(values).__name__}.")
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        lines = [_line(source, values, detail) for detail in error.errors(include_url=False)]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def load_experiment(path: Path) -> Experiment:
    """Reads and checks an experiment file (YAML or JSON).

    Raises:
        UserError: the file is missing, is not YAML, or breaks a rule.
    """
    try:
        return parse_experiment(yaml.safe_load(path.read_text()), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such experiment file.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from None


def _line(source: str, values: Any, detail: Any) -> str:
    key, node = "", values
    for part in detail["loc"]:
        if isinstance(part, int) and not isinstance(node, list):
            continue
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            node = None
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        message = "this key is required."
    elif detail["type"] != "value_error":
        message = f"{detail['input']!r} is not allowed. {message}."
    return ": ".join(part for part in (source, key, message) if part)
