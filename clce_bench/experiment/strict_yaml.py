"""YAML that means what it looks like: what YAML reads in a surprising way, or twice, is refused.

PyYAML follows YAML 1.1, where ``017`` is 15, ``1:30`` is 90, ``yes`` is true, and the last of two equal keys wins.
"""

import re
from itertools import accumulate
from typing import Any

import yaml

from clce_bench.errors import UserError

MOST_VALUES = 100_000
"""Values that a file may expand to, those that aliases repeat included."""

DEEPEST = 100
"""Lists and mappings in brackets inside one another."""

_INT, _FLOAT, _BOOL, _DATE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "timestamp"))
_SURPRISING = {
    _INT: (re.compile(r"[-+]?(0[0-9_]+|0[bx].*|.*:.*)"), "write a number in decimal digits, or quote it"),
    _FLOAT: (re.compile(r".*:.*"), "write a number in decimal digits, or quote it"),
    _BOOL: (re.compile(r"(?!true$|false$)[a-z]+", re.IGNORECASE), "write true or false, or quote it"),
    _DATE: (re.compile(r".*"), "quote it"),
}


def parse_yaml(text: str) -> Any:
    """Parses a YAML document of plain values.

    Raises:
        UserError: it is not YAML, or says something that can be misread; the message has the line.
    """
    if _flow_depth(text) > DEEPEST:  # PyYAML takes time with the square of it.
        raise UserError("not an experiment: it is nested too deeply.")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root, {})
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {error}") from None
    except RecursionError:
        raise UserError("not an experiment: it is nested too deeply.") from None
    except ValueError as error:  # Such as a number of more digits than Python converts.
        raise UserError(f"not YAML: {error}.") from None


def _flow_depth(text: str) -> int:
    return max(accumulate((char in "[{") - (char in "]}") for char in text), default=0)


def _check(node: yaml.Node, sizes: dict[int, int], depth: int = 0) -> int:
    """Checks a node and what is below it, each once; returns how many values it expands to."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise UserError(f"{_line(node)}: an alias leads into itself.")
        return sizes[id(node)]
    if depth > DEEPEST:
        raise UserError("not an experiment: it is nested too deeply.")
    sizes[id(node)] = 0  # Until what is below it is counted.
    size = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size += sum(_check(each, sizes, depth + 1) for pair in node.value for each in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_check(value, sizes, depth + 1) for value in node.value)
    elif isinstance(node, yaml.ScalarNode) and node.style is None and node.tag in _SURPRISING:
        pattern, instead = _SURPRISING[node.tag]
        if pattern.fullmatch(node.value):
            raise UserError(f"{_line(node)}: {node.value} can be misread; {instead}.")
    if size > MOST_VALUES:
        raise UserError(f"{_line(node)}: expands to {size:,} values or more; allowed: at most {MOST_VALUES:,}.")
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                first = seen[key.value].start_mark.line + 1
                raise UserError(f"{_line(key)}: {key.value!r} is there twice, first in line {first}; keep one.")
            seen[key.value] = key


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
