"""The tutorial's files and commands, as its text has them."""

import re
from pathlib import Path

from tests.helpers.miniature import ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    return [body for kind, body in _BLOCK.findall(text) if kind == language]


def write_files(folder: Path) -> None:
    """Writes each block that begins with its file's name."""
    for body in [*blocks("python"), *blocks("yaml")]:
        path = folder / body.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)


def commands() -> list[str]:
    return [line for body in blocks("bash") for line in body.splitlines()]
