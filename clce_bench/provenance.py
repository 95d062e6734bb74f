"""Where a result comes from: the code that made it, the machine, the packages."""

import ast
import hashlib
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import grimp

from clce_bench.files import digest
from clce_bench.registry import source_file

VERBS = {
    "dataset": "clce_bench.data.prepare",
    "splits": "clce_bench.data.splits",
    "episodes": "clce_bench.data.episodes",
    "backbone": "clce_bench.models.weights",
    "features": "clce_bench.models.features",
    "train": "clce_bench.training.train",
    "tune": "clce_bench.evaluation.tuning",
    "evaluate": "clce_bench.evaluation.evaluate",
    "summarize": "clce_bench.evaluation.summary",
    "figures": "clce_bench.figures.render",
    "report": "clce_bench.report.page",
    "track": "clce_bench.tracking",
}

# These modules say what a job is. Whatever they decide stands in the job's own JSON, so their code is not part of it.
_DESCRIPTIONS = {
    f"clce_bench.{name}"
    for name in (
        *(
            "cell_checks",
            "cells",
            "claims",
            "config",
            "errors",
            "figure_options",
            "files",
            "grid_checks",
            "hazards",
            "hyperparameters",
            "jobs",
            "loading",
            "provenance",
            "recipes",
        ),
        *("registry", "search", "section", "trials"),
    )
}

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "scipy", "pandas", "clce_bench")


@cache
def fingerprint(verb: str, *components: str) -> str:
    """Hashes the code that decides a job's result.

    Args:
        verb: the stage, a key of :data:`VERBS`.
        components: import paths (``module:name``) of what the stage loads by name: loss, data set, figure.

    Returns:
        Sixteen hexadecimal digits over the syntax trees of the stage's module, the components and everything of this
        package that they import; comments, docstrings and formatting do not count.
    """
    modules = {VERBS[verb], *(component.partition(":")[0] for component in components)}
    graph = _import_graph()
    for module in list(modules - graph.modules):
        modules |= _imports(source_file(module)) & graph.modules
    for module in list(modules & graph.modules):
        modules |= graph.find_upstream_modules(module)
    return digest({module: _tree_hash(source_file(module)) for module in modules - _DESCRIPTIONS}, length=16)


def _imports(path: Path) -> set[str]:
    """Names what a file outside the package imports: modules, and names that may be modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@cache
def _import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("clce_bench", cache_dir=None)


@cache
def _tree_hash(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A string that stands alone explains an attribute or opens a block: documentation either way.
            node.body = [child for child in node.body if not _is_bare_string(child)] or [ast.Pass()]
    # A page's template and a data set's class lists lie beside the module that reads them.
    beside = (path.with_suffix(suffix) for suffix in (".html", ".css", ".js", ".json"))
    text = "".join(file.read_text() for file in beside if file.exists())
    return hashlib.sha256((ast.dump(tree) + text).encode()).hexdigest()


def _is_bare_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def environment() -> dict[str, Any]:
    """Describes the machine and the packages that this process runs with."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": _gpu_name(),
        "host": platform.node(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "git_commit": _git_commit(),
    }


def now() -> str:
    """Returns the time in UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu_name() -> str | None:
    torch = sys.modules.get("torch")  # Asking must not cost an import of torch where it is not in use.
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
