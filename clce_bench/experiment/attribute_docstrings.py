"""What the docstrings below the fields of a model say."""

import ast
from functools import cache
from inspect import getsourcefile
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

from pydantic import BaseModel


def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Reads what is said about each field of a model, by the class that declares it or one that it builds on.

    Read from the source when it is asked for: pydantic's own ``use_attribute_docstrings`` would read the sources of all
    models whenever an experiment is read.
    """
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            found |= _declared(owner)
    return {field: text for field, text in found.items() if field in model.model_fields}


@cache
def _declared(owner: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(Path(getsourcefile(owner) or "").read_text(encoding="utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner.__name__)
    found = {}
    for line, after in pairwise(body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            said = after.value if isinstance(after, ast.Expr) else None
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                found[line.target.id] = " ".join(dedent(said.value).split())
    return found
