"""The page on the architecture shows the rooms, arrows and functions that exist."""

import ast
import re

import grimp
import pytest

from clce_bench.components.registry import source_file
from tests.helpers.miniature import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def rooms():
    return {path.parent.relative_to(ROOT / "clce_bench") for path in (ROOT / "clce_bench").rglob("*.*")}


def reachable(arrows):
    """Everything that is below each room."""
    below = {room: set(targets) for room, targets in arrows.items()}
    for _ in below:
        for targets in below.values():
            targets |= {lower for target in set(targets) for lower in below.get(target, ())}
    return {room: targets for room, targets in below.items() if targets}


def drawn():
    arrows = {}
    for line in PAGE.split("```")[1].splitlines():
        if "-->" in line:
            room, targets = line.split("-->")
            arrows.setdefault(room.strip(), set()).update(target.strip() for target in targets.split("&"))
    return arrows


def imported():
    graph = grimp.build_graph("clce_bench", cache_dir=None)
    arrows = {}
    for module in graph.modules - {"clce_bench"}:
        room = module.split(".")[1]
        targets = {target.split(".")[1] for target in graph.find_modules_directly_imported_by(module) if "." in target}
        arrows.setdefault(room, set()).update(targets - {room})
    return arrows


def test_every_folder_is_named():
    folders = {path.as_posix() for path in rooms() if path.parts and "__pycache__" not in path.parts}
    table = PAGE.split("## Rooms")[1].split("##")[0]
    assert folders == {name.rstrip("/") for name in re.findall(r"`([a-z_/]+/)`", table.split("Five modules")[0])}


def test_the_picture_shows_the_imports_that_there_are():
    assert reachable(drawn()) == reachable(imported())


def test_the_longest_chain_of_rooms_is_as_long_as_the_page_says():
    arrows = imported()

    def longest(room):
        return 1 + max((longest(lower) for lower in arrows.get(room, ())), default=0)

    words = {8: "eight", 9: "nine", 10: "ten"}
    assert f"longest chain has {words[longest('cli')]} rooms" in " ".join(PAGE.split())


@pytest.mark.parametrize("path", re.findall(r"`(clce_bench(?:\.\w+)+)`", PAGE))
def test_functions_on_the_way_of_a_value_exist(path):
    module, _, name = path.rpartition(".")
    tree = ast.parse(source_file(module).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_every_room_has_tests():
    tested = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    modules = {path.parts[0] for path in rooms() if path.parts and path.parts[0] != "__pycache__"} - {"data_files"}
    assert modules - tested == set()
