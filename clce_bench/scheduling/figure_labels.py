"""What Snakemake's own report says beside a figure."""

from typing import Any


def figure_labels(options: dict[str, Any]) -> dict[str, str]:
    """Says what a figure is and whose cells it shows.

    Args:
        options: of the figure, as its job has them.
    """
    return {
        "figure": options["kind"].replace("_", " "),
        "grid": ", ".join(options["grid"]),
        "name": options["name"],
    }
