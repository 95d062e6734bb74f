"""Asks the package index whether each pin has a wheel for every Python and platform that the README names.

Which packages a platform needs is read from the packages installed here, by their own markers. Run it with everything
installed, which ``make test docs`` sees to, and pip 23.3 or newer, which asks without downloading.

    .venv/bin/python .ci/check_wheels.py
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
PYTHONS = ("3.11", "3.12", "3.13")
NEXT = "3.14"
"""What it lacks is printed, and no failure."""
PLATFORMS = {
    "Linux x86-64": ("linux", "Linux", "x86_64", [f"manylinux_2_{minor}_x86_64" for minor in range(5, 37)]),
    "Linux aarch64": ("linux", "Linux", "aarch64", [f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)]),
    "macOS arm64": ("darwin", "Darwin", "arm64", ["macosx_14_0_arm64"]),
}
OLD_NAMES = {"x86_64": ("manylinux1", "manylinux2010", "manylinux2014"), "aarch64": ("manylinux2014",), "arm64": ()}
FROM_SOURCE = {"antlr4-python3-runtime", "baycomp", "connection-pool"}
"""Pure Python, published as source alone: it is built wherever it is installed."""


def needed(environment: dict[str, str]) -> set[str]:
    """Names the packages that this one needs, with all its extras, where the markers have these values."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values()))
    waiting = [(canonicalize_name(requirement.name), frozenset(requirement.extras)) for requirement in own]
    found: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        if (place := waiting.pop()) in found:
            continue
        found.add(place)
        name, extras = place
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # Another platform's; whether it has a wheel is asked all the same.
        for requirement in map(Requirement, requires):
            values = [{**environment, "extra": extra} for extra in ("", *extras)]
            if not requirement.marker or any(map(requirement.marker.evaluate, values)):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in found}


def without_wheel(pins: Sequence[str], python: str, tags: Sequence[str]) -> list[str]:
    """Returns the pins that pip finds no wheel of: it stops at the first, so it is asked again without that."""
    left, missing = list(pins), []
    platforms = [f"--platform={tag}" for tag in tags]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--dry-run", "--no-deps", "--only-binary=:all:", f"--target={folder}", f"--python-version={python}"]
        while left:
            command = [sys.executable, "-m", "pip", "install", "--quiet", *options, *platforms, *left]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                break
            if not (lacking := re.search(r"No matching distribution found for (\S+)", done.stderr)):
                raise SystemExit(done.stderr)
            left.remove(lacking[1])
            _, _, version = lacking[1].partition("==")
            other = re.search(rf"(?<![\w.]){re.escape(version)} (Requires-Python [^;\s]+)", done.stderr)
            missing.append(f"{lacking[1]} ({other[1]})" if other else lacking[1])
    return missing


def main() -> None:
    """Checks all targets, or those whose names are given; the exit status is 1 if a wheel is missing."""
    pins = {canonicalize_name(line.partition("==")[0]): line for line in LOCK.read_text().splitlines()}
    targets = [(python, platform) for python in (*PYTHONS, NEXT) for platform in PLATFORMS]
    failed = False
    for python, platform in targets:
        target = f"Python {python}, {platform}"
        if sys.argv[1:] and target not in sys.argv[1:]:
            continue
        system, system_name, machine, tags = PLATFORMS[platform]
        environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.5"}
        environment |= {"sys_platform": system, "platform_system": system_name, "platform_machine": machine}
        names = needed(environment)  # type: ignore[arg-type]
        unpinned = sorted(names - set(pins))
        asked = [pins[name] for name in sorted(names & set(pins) - FROM_SOURCE)]
        tags = [*tags, *(f"{old}_{machine}" for old in OLD_NAMES[machine])]
        missing = without_wheel(asked, python, tags)
        failed = failed or (bool(missing) and python != NEXT)
        print(f"{target}: {len(asked)} pins, no wheel of: {', '.join(missing) or '–'}", end="")
        print(f"; needed there without a pin: {', '.join(unpinned)}" if unpinned else "", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
