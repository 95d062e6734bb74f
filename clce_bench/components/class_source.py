"""Classes as their source says, found without importing it."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path

from clce_bench.components.registry import source_file
from clce_bench.errors import UserError, unknown


def family(path: str, above: frozenset[tuple[str, str]] = frozenset()) -> Iterator[ast.ClassDef]:
    """Yields the class at ``module:name`` and those that it builds on, as far as their names lead to source."""
    module, _, name = path.partition(":")
    owner, node = _find(module, name, above)
    yield node
    for base in node.bases:
        if isinstance(base, ast.Name):
            try:
                yield from family(f"{owner}:{base.id}", above | {(owner, node.name)})
            except UserError:
                continue  # Such as a base that is made when the module is run.


def _find(module: str, name: str, seen: frozenset[tuple[str, str]]) -> tuple[str, ast.ClassDef]:
    """Finds a class where it is defined, also when the module only imports it; never one that was seen on the way."""
    file = source_file(module)
    body = _parse(file, file.stat().st_mtime_ns)
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    if name in classes and (module, name) not in seen:
        return module, classes[name]
    seen |= {(module, name)}
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in (node for node in body if isinstance(node, ast.ImportFrom)):
        origin = resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            if name == (alias.asname or alias.name) and (origin, alias.name) not in seen:
                return _find(origin, alias.name, seen)
    raise UserError(f"{module}:{name}: {unknown(f'a class in {file}', name, classes)}")


@lru_cache(maxsize=256)
def _parse(file: Path, _changed: int) -> list[ast.stmt]:
    try:
        return ast.parse(file.read_text(encoding="utf-8")).body
    except SyntaxError as error:
        place = f"{file}: line {error.lineno}" if error.lineno else str(file)
        raise UserError(f"{place}: not Python: {error.msg}.") from None
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise UserError(f"{file}: not Python: {error}.") from None


def methods_of(path: str) -> dict[str, ast.FunctionDef]:
    """Gives the methods of the class at ``module:name``, inherited ones included, by name."""
    found: dict[str, ast.FunctionDef] = {}
    for node in family(path):
        for child in node.body:
            if isinstance(child, ast.FunctionDef):
                found.setdefault(child.name, child)
    return found


def definitions_of(path: str, method: str) -> Iterator[ast.FunctionDef]:
    """Yields a method as the class at ``module:name`` defines it, then as those do that it builds on."""
    for node in family(path):
        yield from (child for child in node.body if isinstance(child, ast.FunctionDef) and child.name == method)
