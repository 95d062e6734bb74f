"""Where a trained cell lies that somebody names."""

from pathlib import Path

from clce_bench.errors import UserError, unknown

CELLS = Path("results/cells")


def find_cell(cell: str | Path) -> Path:
    """Finds the folder of a trained cell.

    Args:
        cell: the folder, its ``cell.json``, or the cell's name below ``results/cells`` or the beginning of it.

    Raises:
        UserError: there is none, or several begin so.
    """
    path = Path(cell)
    directory = path.parent if path.name == "cell.json" else path
    if (directory / "cell.json").is_file():
        return directory
    trained = {found.parent.name: found.parent for found in sorted(CELLS.glob("*/*/*/cell.json"))}
    matching = [name for name in trained if name == str(cell)] or [
        name for name in trained if name.startswith(str(cell))
    ]
    if len(matching) == 1:
        return trained[matching[0]]
    if matching:
        raise UserError(f"{cell}: several cells begin so: {', '.join(matching[:5])}.")
    raise UserError(unknown("a trained cell", str(cell), trained, f"Cells are in {CELLS}"))
