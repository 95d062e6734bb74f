"""Prints the notes of a release, a section of CHANGELOG.md: ``python .ci/release_notes.py v0.2.0``."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(changelog: str, version: str) -> str:
    """Returns what stands below the heading of a version, which may have a date: ``## 0.2.0 (2026-12-01)``."""
    found = re.search(rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise SystemExit(f"CHANGELOG.md: nothing is said of {version}. Its heading is '## {version}'.")
    return found[1].strip()


def main() -> None:
    """Checks that the tag is of the package's version, and prints its notes."""
    version = sys.argv[1].removeprefix("v")
    code = (ROOT / "clce_bench" / "__init__.py").read_text(encoding="utf-8")
    if f'__version__ = "{version}"' not in code:
        raise SystemExit(f"clce_bench/__init__.py: __version__ is not {version}, as the tag says.")
    print(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version))


if __name__ == "__main__":
    main()
