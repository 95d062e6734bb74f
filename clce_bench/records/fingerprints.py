"""Which code a job runs: a fingerprint, and behind it a hash per module, class and function."""

import ast
import hashlib
import sysconfig
from functools import cache
from importlib.resources import files
from pathlib import Path

import grimp

from clce_bench.components.registry import source_file
from clce_bench.errors import UserError
from clce_bench.files import digest

VERBS = {
    "dataset": "clce_bench.data.prepare",
    "splits": "clce_bench.data.splits",
    "labels": "clce_bench.data.label_noise",
    "episodes": "clce_bench.data.episodes",
    "backbone": "clce_bench.models.weights",
    "features": "clce_bench.models.features",
    "corruptions": "clce_bench.measures.corrupted_images",
    "train": "clce_bench.training.train",
    "tune": "clce_bench.analysis.tuning_choice",
    "evaluate": "clce_bench.evaluation.evaluate",
    "measure": "clce_bench.measures.measure",
    "summarize": "clce_bench.analysis.summary",
    "figures": "clce_bench.figures.render",
    "report": "clce_bench.report.page",
    "track": "clce_bench.tracking.mlflow_store",
}

# These rooms and modules say what a job is and whether it is to run. Whatever they decide is in the job's own JSON or
# changes no result, so their code is not part of it.
_DESCRIPTIONS = tuple(
    f"clce_bench.{name}."
    for name in (
        *("components", "errors", "experiment", "files", "machine", "records"),
        *(f"planning.{module}" for module in ("cell_checks", "changes", "job", "plan", "reruns")),
    )
)

# But labels and colours of losses, which are in no job, decide about what is written and drawn.
_LOSS_TABLE, _SHOWING = "clce_bench.components.loss_info", ("summarize", "figures", "report", "track")

REST = "the module itself"
"""Stands for what a module does outside its functions and classes."""

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where a statement has others in it."""

_PYTHON = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib"))
_INSTALLED = {"site-packages", "dist-packages"}
"""Folders of packages, of this environment or of another that it sees: the system's, the user's."""


@cache
def fingerprint(verb: str, *components: str) -> str:
    """Hashes the code that decides a job's result.

    Args:
        verb: the stage, a key of :data:`VERBS`.
        components: import paths (``module:name``) of what the stage loads by name: loss, data set, figure.

    Returns:
        Sixteen hexadecimal digits over the syntax trees of the stage's module, the components and all local code that
        they import; comments, docstrings and formatting do not count.
    """
    return digest(module_hashes(verb, *components), length=16)


def module_hashes(verb: str, *components: str) -> dict[str, str]:
    """Hashes each module behind a fingerprint, as :func:`fingerprint` takes it."""
    return {module: _tree_hash(source_file(module)) for module in _closure(verb, *components)}


def outlines(verb: str, *components: str) -> dict[str, dict[str, str]]:
    """Hashes each function, method and class of the modules behind a fingerprint, and the rest of each module.

    Returns:
        By module, then by name such as ``TCL.per_anchor``.
    """
    return {module: _outline(source_file(module)) for module in _closure(verb, *components)}


@cache
def _closure(verb: str, *components: str) -> list[str]:
    graph = _import_graph()
    waiting = {VERBS[verb], *(component.partition(":")[0] for component in components)}
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        if module in graph.modules:
            found |= graph.find_upstream_modules(module)
        else:
            waiting |= {name for name in _local_imports(module) if name in graph.modules or is_local(name)}
    shown = {_LOSS_TABLE} & found if verb in _SHOWING else set()
    return sorted({module for module in found if not f"{module}.".startswith(_DESCRIPTIONS)} | shown)


def is_local(module: str) -> bool:
    """Whether a module is somebody's own file: neither Python's nor an installed package's."""
    try:
        path = source_file(module).resolve()
    except (UserError, ValueError):
        return False
    return path.suffix == ".py" and not str(path).startswith(_PYTHON) and _INSTALLED.isdisjoint(path.parts)


@cache
def _local_imports(module: str) -> set[str]:
    """Names what a module outside the package may import: modules, names in them, and the packages around it."""
    path = source_file(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = {module.rsplit(".", level)[0] for level in range(1, module.count(".") + 1)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return found


@cache
def _import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("clce_bench", cache_dir=None)


@cache
def _tree_hash(path: Path) -> str:
    tree = _stripped(path)
    return hashlib.sha256((ast.dump(tree) + _files_read(path, tree)).encode()).hexdigest()


@cache
def _outline(path: Path) -> dict[str, str]:
    tree = _stripped(path)
    parts: dict[str, list[ast.stmt]] = {REST: []}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
            for method in methods:
                parts.setdefault(f"{node.name}.{method.name}", []).append(method)
            node.body = [child for child in node.body if child not in methods]
        name = node.name if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else REST
        parts.setdefault(name, []).append(node)
    hashes = {name: digest([ast.dump(node) for node in nodes]) for name, nodes in parts.items()}
    text = _files_read(path, tree)
    return hashes | ({"files beside it": digest(text)} if text else {})


def _stripped(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A string that stands alone explains an attribute or opens a block: documentation either way.
            node.body = [child for child in node.body if not _is_bare_string(child)] or [ast.Pass()]
        # Expressions hold no statements: walking them too would take longer than parsing.
        waiting += (child for block in _BLOCKS for child in getattr(node, block, ()))
    return tree


def _is_bare_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _files_read(path: Path, tree: ast.Module) -> str:
    """Returns the text of what a module reads: a page's template or class lists beside it, the package's data files."""
    beside = [path.with_suffix(suffix) for suffix in (".html", ".css", ".js", ".json")]
    folder, text = Path(str(files("clce_bench") / "data_files")), path.read_text(encoding="utf-8")
    # Few modules name one at all, and a walk through a tree takes longer than a look through its text.
    data = [file for file in sorted(folder.iterdir()) if file.suffix in (".yaml", ".json") and file.name in text]
    if data:
        named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        data = [file for file in data if file.name in named]
    return "".join(file.read_text(encoding="utf-8") for file in (*beside, *data) if file.is_file())
