"""What `make` does before and around the programs that it calls, which only say here what they were called with."""

import os
import shutil
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace

import playwright.sync_api
import pytest

from tests.helpers import browser, slurm_cluster
from tests.helpers.miniature import ROOT

DUE = '[ "$1 $2" = "headline --if-up-to-date" ] && exit 1'


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and an environment whose programs only say what they were called with."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("snakemake", "clce-bench"):
        write_program(
            tmp_path / ".venv" / "bin" / name, f'{DUE}; printf "%s|" "${{0##*/}}" "$@"; echo; exit ${{STATUS:-0}}'
        )
    (tmp_path / ".venv" / "installed").touch()
    return tmp_path


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def make(folder, *arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**clean, **environment})


@pytest.mark.parametrize("name", ["a b.yaml", "it's.yaml", 'a"b;touch ran.yaml', "a`touch ran`b.yaml", "*.yaml"])
def test_the_experiments_name_is_quoted(checkout, name):
    done = make(checkout, "reproduce", f"EXPERIMENT={name}", f"PROFILE=of {name}")
    assert done.returncode == 0, done.stderr
    assert f'.venv/bin/clce-bench watch --experiment "{name}"' in done.stderr
    plan, rounds, run, headline = done.stdout.splitlines()
    assert plan == f"clce-bench|plan|--experiment|{name}|"
    assert rounds == f"clce-bench|rounds|--experiment|{name}|"
    assert run.startswith(f"snakemake|--configfile|{name}|--profile|of {name}|")
    assert headline == f"clce-bench|headline|--experiment|{name}|"
    assert not list(checkout.glob("ran*"))


def test_a_bad_experiment_ends_with_its_message_alone(checkout):
    write_program(checkout / ".venv/bin/clce-bench", 'echo "error: it is bad" >&2; exit 2')
    done = make(checkout, "reproduce")
    assert "snakemake|" not in done.stdout
    assert done.stderr.count("error: it is bad") == 1
    assert done.returncode != 0


def test_nothing_starts_where_all_results_are_up_to_date(checkout):
    write_program(checkout / ".venv/bin/clce-bench", 'printf "%s|" "$@"')
    done = make(checkout, "reproduce", "EXPERIMENT=mine.yaml")
    assert (done.returncode, done.stdout) == (0, "headline|--if-up-to-date|--experiment|mine.yaml|"), done.stderr


def test_what_python_compiles_is_kept(checkout):
    write_program(checkout / ".venv/bin/clce-bench", 'echo "[$PYTHONDONTWRITEBYTECODE]"')
    assert make(checkout, "reproduce", PYTHONDONTWRITEBYTECODE="1").stdout == "[]\n"


@pytest.mark.parametrize("more", [0, 1, 3])
def test_one_run_follows_another_until_no_more_must(checkout, more):
    (checkout / "more").write_text("x" * more)
    count = 'left=$(cat more); [ -z "$left" ] && exit 0; printf %s "${left#x}" > more; exit 1'
    write_program(checkout / ".venv/bin/clce-bench", f'{DUE}; [ "$1" = rounds ] || exit 0; {count}')
    done = make(checkout, "reproduce")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("snakemake|") == more + 1


def test_a_run_that_fails_is_not_followed_by_another(checkout):
    write_program(checkout / ".venv/bin/clce-bench", "exit 1")
    done = make(checkout, "reproduce", STATUS="1")
    assert done.stdout.count("snakemake|") == 1
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            'case "$*" in --version) echo Python 3.9.2;; *version_info*) exit 1;; *) touch ran;; esac',
            "Python 3.9.2 is too old",
        ),
        ('case "$*" in *ensurepip*) exit 1;; *version_info*) ;; *) touch ran;; esac', "apt-get install python3-venv"),
        (None, "There is no ./python. Python 3.11 or newer is needed."),
    ],
    ids=["old", "no venv", "none"],
)
def test_a_python_that_will_not_do_is_named_before_anything_is_downloaded(checkout, program, expected):
    shutil.rmtree(checkout / ".venv")
    if program:
        write_program(checkout / "python", program)
    done = make(checkout, "reproduce", "PYTHON=./python")
    assert done.returncode == 2
    assert expected in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not list(checkout.glob("ran*"))


def test_running_an_experiment_installs_nothing_for_tests():
    for goal, extras in (("reproduce", "'.[pipeline]'"), ("test", "'.[pipeline,dev]'"), ("lint", "'.[pipeline,dev]'")):
        lines = make(ROOT, "--dry-run", "--always-make", goal).stdout.splitlines()
        asked = [line.rpartition(" ")[2] for line in lines if "pip install" in line]
        assert asked[-1] == extras
        assert "Setting up .venv" in "".join(
            lines[: lines.index(next(line for line in lines if "pip install" in line))]
        )


@pytest.mark.parametrize("home", [None, "/nonexistent", "/dev/null", "writable"])
def test_a_home_that_cannot_be_written_is_not_needed(checkout, home):
    write_program(checkout / ".venv/bin/snakemake", 'echo "cache: $XDG_CACHE_HOME, home: $HOME"')
    (checkout / "writable").mkdir()
    own = os.environ["PATH"]
    program = ["env", "-i", f"PATH={own}", *([f"HOME={checkout / home}"] if home else []), "make", "reproduce"]
    done = subprocess.run(program, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    place = "" if home == "writable" else f"{checkout}/.snakemake/cache"
    folder = checkout / home if home else checkout / ".snakemake"
    assert f"cache: {place}, home: {folder}\n" in done.stdout
    program.insert(2, "XDG_CACHE_HOME=/elsewhere")
    assert "cache: /elsewhere, " in subprocess.run(program, cwd=checkout, capture_output=True, text=True).stdout


BROWSERS = {
    "the system's": (("chromium",), 1000, 1, None),
    "Chrome": (("google-chrome",), 1000, 1, None),
    "none, as root": ((), 0, 0, "apt-get install -qq --no-install-recommends chromium"),
    "none, without root": ((), 1000, 0, "playwright install --only-shell chromium to .venv/browsers"),
    "none, without network": ((), 1000, 1, "playwright install --only-shell chromium to .venv/browsers"),
}


@pytest.mark.parametrize(("there", "user", "status", "asked"), BROWSERS.values(), ids=BROWSERS.keys())
def test_a_browser_is_found_installed_or_fetched_and_else_a_word_says_how(checkout, there, user, status, asked):
    programs = checkout / "programs"
    note = f'echo "${{0##*/}} $*" >> {checkout}/asked'
    write_program(programs / "id", f"echo {user}")
    write_program(programs / "timeout", 'shift; exec "$@"')
    write_program(programs / "apt-get", note)
    for name in there:
        write_program(programs / name, note)
    fetch = f'echo "playwright $* to $PLAYWRIGHT_BROWSERS_PATH" >> {checkout}/asked; exit {status}'
    write_program(checkout / ".venv/bin/playwright", fetch)
    (checkout / ".venv/installed-dev").touch()
    command = [shutil.which("make"), "--no-print-directory", "browser"]
    done = subprocess.run(command, cwd=checkout, env={"PATH": str(programs)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (checkout / "asked").read_text().splitlines() if asked else []
    assert lines[-1:] == ([asked] if asked else [])
    said = "The tests of the report page are skipped: there is no Chromium. apt-get install chromium brings it."
    assert done.stdout.splitlines() == ([said] if not there and status else [])


@pytest.mark.parametrize(("value", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_what_is_missing_skips_tests_with_a_word_and_fails_them_where_all_must_run(monkeypatch, value, outcome):
    def launch(**_):
        raise playwright.sync_api.Error("Executable doesn't exist")

    driver = SimpleNamespace(chromium=SimpleNamespace(launch=launch))
    monkeypatch.setattr(browser, "sync_playwright", lambda: nullcontext(driver))
    monkeypatch.setenv("CI", value)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", "nowhere")
    with pytest.raises(outcome, match="no Chromium .*; apt-get install chromium, or make browser"), browser.chromium():
        pass
    monkeypatch.setattr(slurm_cluster, "missing", lambda: ["slurmctld"])
    with pytest.raises(outcome, match="no Slurm here, apt-get install slurm-wlm munge: slurmctld"):
        slurm_cluster.require()
