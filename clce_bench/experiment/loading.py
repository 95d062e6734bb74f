"""Reading experiment files, and saying what is wrong with them."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clce_bench.errors import UserError
from clce_bench.experiment.grid_size import check_size
from clce_bench.experiment.schema import Experiment
from clce_bench.experiment.strict_yaml import parse_yaml

MOST_BYTES = 200_000
"""The largest experiment file that is read."""
MOST_LINES = 20
"""Mistakes that are told at once."""


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
        experiment = Experiment.model_validate(values)
        check_size(experiment)
    except ValidationError as error:
        raise UserError(_all_mistakes(source, values, error)) from None
    except (RecursionError, UserError) as error:
        reason = "an experiment is not nested so deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{source}: {reason}") from None
    return experiment


def load_experiment(path: Path) -> Experiment:
    """Reads and checks an experiment file (YAML or JSON).

    Raises:
        UserError: the file is missing, is not text, is not YAML, or breaks a rule.
    """
    try:
        values = parse_yaml(_read(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return parse_experiment(values, str(path))


def _read(path: Path) -> str:
    """Reads a text file of moderate size; nothing else is opened, since a pipe would never end."""
    try:
        if not path.exists():
            raise UserError("there is no such experiment file.")
        if not path.is_file():
            raise UserError("an experiment file is needed; this is a folder or a device.")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"has {path.stat().st_size:,} bytes; allowed: at most {MOST_BYTES:,}.")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 (byte {error.start + 1}); save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _all_mistakes(source: str, values: Any, error: ValidationError) -> str:
    """Writes a line for each key that has a mistake; what a value may be instead follows in that line."""
    reasons: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        key, reason = _mistake(values, detail)
        reasons.setdefault(key, [])
        if reason not in reasons[key]:
            reasons[key].append(reason)
    lines = [": ".join(part for part in (source, key, " Or: ".join(found)) if part) for key, found in reasons.items()]
    more = [f"{source}: and {len(lines) - MOST_LINES} more mistakes."] if len(lines) > MOST_LINES else []
    return "\n".join(lines[:MOST_LINES] + more)


def _mistake(values: Any, detail: Any) -> tuple[str, str]:
    """Returns the key as the file has it, without pydantic's names of alternatives, and what is wrong with it."""
    key, node = "", values
    missing = detail["type"] == "missing"
    for place, part in enumerate(detail["loc"]):
        if isinstance(part, int) and isinstance(node, list) and part < len(node):
            key, node = f"{key}[{part}]", node[part]
        elif isinstance(part, str) and isinstance(node, dict) and part in node:
            key, node = f"{key}.{part}" if key else part, node[part]
        elif missing and place == len(detail["loc"]) - 1:
            key = f"{key}.{part}" if key else str(part)
    message = detail["msg"].removeprefix("Value error, ")
    if missing:
        message = "this key is required."
    elif detail["type"] != "value_error":
        message = f"{shown(detail['input'])} is not allowed. {message}."
    return key, message


def shown(value: Any) -> str:
    """Writes a value for a message, its middle left out where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:60]} … {text[-20:]}"
