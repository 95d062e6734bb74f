"""What runs elsewhere calls what is here. That the files fit GitHub's schemas, `make lint` checks."""

import re
import subprocess
import sys

import pytest
import yaml
from packaging.markers import default_environment

from tests.helpers.miniature import ROOT

sys.path.append(str(ROOT / ".ci"))

import check_wheels
from release_notes import notes

from benchmarks.fresh_machine import readme_commands, recipe_steps

COMMANDS = {
    f"{path.stem}: {step['run']}": step["run"]
    for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
    for job in yaml.safe_load(path.read_text())["jobs"].values()
    for step in job["steps"]
    if "run" in step
}
HOOKS = [
    hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]
]


def test_workflows_call_targets_and_scripts_that_exist():
    goals = {
        word for run in COMMANDS.values() if run.startswith("make ") for word in run.split()[1:] if "=" not in word
    }
    assert {"test", "lint", "docs", "reproduce", "links"} <= goals
    known = (ROOT / "Makefile").read_text()
    assert not [goal for goal in goals if not re.search(rf"^{re.escape(goal)}:", known, re.MULTILINE)]
    scripts = set(re.findall(r"\.ci/\w+\.py", "\n".join(COMMANDS.values())))
    assert scripts == {".ci/check_smoke.py", ".ci/check_wheels.py", ".ci/release_notes.py"}
    assert all((ROOT / script).is_file() for script in scripts)


def test_pythons_that_are_named_are_tested_and_have_wheels():
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    assert named
    assert set(named) <= set(workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]) <= set(check_wheels.PYTHONS)
    readme = (ROOT / "README.md").read_text()
    assert all(re.search(rf"\b{re.escape(version)}\.\d", readme) for version in named)


def test_each_platform_is_asked_for_what_its_markers_say():
    def names(platform, system):
        return check_wheels.needed({**default_environment(), "sys_platform": platform, "platform_system": system})

    linux, mac = names("linux", "Linux"), names("darwin", "Darwin")
    assert {"torch", "snakemake", "sphinx", "pytest"} <= linux & mac
    assert {name for name in linux - mac if name.startswith(("nvidia-", "triton"))}


def test_newest_packages_are_installed_without_pins():
    dry = ["make", "--dry-run", "--always-make", "test", "LOCK=/dev/null"]
    installs = re.findall(r"pip install.*", subprocess.run(dry, cwd=ROOT, capture_output=True, text=True).stdout)
    assert installs
    assert all("--constraint /dev/null " in line for line in installs)


def test_hooks_run_what_make_lint_runs():
    lint = subprocess.run(["make", "--dry-run", "lint"], cwd=ROOT, capture_output=True, text=True).stdout
    for hook in HOOKS:
        program = hook["entry"].split()[0]
        assert program in lint or hook["entry"] == "make --no-print-directory schemas", hook
        assert re.compile(hook.get("files", "")), hook


CHANGELOG = """# Changelog

## Unreleased

- To come.

## 1.10.0 (2027-01-02)

- Ten.

## 1.1.0

- One: `## 1.0.0` is text.

  More.

## 1.0.0
"""


def test_the_notes_of_a_release_are_its_section_of_the_changelog():
    assert notes(CHANGELOG, "1.10.0") == "- Ten."
    assert notes(CHANGELOG, "1.1.0") == "- One: `## 1.0.0` is text.\n\n  More."
    assert notes(CHANGELOG, "Unreleased") == "- To come."
    for version in ("1.1", "1.0.0", "2.0.0"):
        with pytest.raises(SystemExit, match=f"nothing is said of {version}"):
            notes(CHANGELOG, version)


def test_a_tag_of_another_version_makes_no_release():
    done = subprocess.run([sys.executable, ROOT / ".ci/release_notes.py", "v99.0.0"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "__version__ is not 99.0.0" in done.stderr


def test_fresh_machines_run_what_readme_and_container_recipe_say():
    assert readme_commands() == ["make reproduce", "make test"]
    steps = recipe_steps()
    assert sum("pip install" in step and "requirements.lock" in step for step in steps) == 1
    assert any("cp -r clce_bench/. /opt/clce-bench/clce_bench" in step for step in steps)
    for step in steps:
        assert subprocess.run(["sh", "-n", "-c", step]).returncode == 0
