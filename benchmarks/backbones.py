"""A model of each family of timm: learning rates by layer as timm has them, and which image sizes it takes.

Models are built on torch's meta device, without weights. Writes a table to docs/benchmarks/.

    python benchmarks/backbones.py
"""

from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import click
import timm
import torch
from rich.progress import track

from clce_bench.errors import UserError
from clce_bench.experiment.schema import Backbone
from clce_bench.models.profiling import count
from tests.helpers.timm_families import on_meta, scales_of_cell, scales_of_timm, smallest_of_each_family

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks"
SMALL = 64


@dataclass(frozen=True)
class Found:
    """What became of a model.

    Attributes:
        name: as timm lists it.
        scales: how many learning rates its layers have, or how they differ from timm's.
        own: its own image size in pixels.
        sizes: by image size, how many features it gives, or the message.
        faults: what should not be.
    """

    name: str
    scales: str
    own: int
    sizes: dict[int, str]
    faults: list[str]


def survey(name: str) -> Found:
    """Looks at one model."""
    faults: list[str] = []
    try:
        whole = on_meta(name)
        expected, found = scales_of_timm(whole), scales_of_cell(whole)
        other = [key for key, scale in found.items() if scale != expected.get(key, 1.0)]
        rates = {scale for key, scale in found.items() if key.startswith("tail.")}
        scales = f"{len(rates)} as timm's" if not other else f"other than timm's: {other[0]}"
        faults += [f"scale of {key}" for key in other]
    except Exception as error:
        scales = f"{type(error).__name__}: {error}"
        faults.append(scales)
    own = timm.get_pretrained_cfg(name).input_size[-1]
    sizes = {}
    for size in (own, SMALL):
        try:
            sizes[size] = f"{count(Backbone(name=name, weights='random', freeze='none'), size).features} features"
        except UserError as error:
            sizes[size] = str(error).strip().partition("\n")[0]
            faults += [f"refuses its own size: {error}"] * (size == own)
        except Exception as error:
            sizes[size] = f"{type(error).__name__}: {error}"
            faults.append(sizes[size])
    return Found(name, scales, own, sizes, faults)


def write(rows: list[Found]) -> None:
    """Writes docs/benchmarks/backbones.md."""
    faulty = sum(bool(row.faults) for row in rows)
    same = sum("as timm's" in row.scales for row in rows)
    refusing = sum("features" not in row.sizes[SMALL] for row in rows)
    text = f"""{len(rows)} families of timm {version("timm")}, the model with the shortest small name of each, on the
meta device of torch {version("torch")}; {date.today()}. Learning rates by layer (`layer_decay`) equal those that timm's
`param_groups_layer_decay` gives the model with its classifier in {same} families. {len(rows) - refusing} take images of
{SMALL} pixels, {refusing} refuse them with the message in the table. Models with a fault: {faulty}."""
    lines = [
        f"| model | learning rates | own size | features there | at {SMALL} pixels |",
        "| --- | --- | ---: | --- | --- |",
    ]
    for row in rows:
        small = row.sizes[SMALL].removeprefix(f"datasets: size: {SMALL} is not allowed for {row.name}").lstrip(".,: ")
        cells = (row.name, row.scales, str(row.own), row.sizes[row.own], small.replace("|", "/"))
        lines.append(f"| {' | '.join(cells)} |")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page = "\n".join(
        ["# A model of each family of timm", "", text, "", *lines, "", "Measured by `python benchmarks/backbones.py`."]
    )
    (OUTPUT / "backbones.md").write_text(f"{page}\n")


@click.command()
@click.option("--every", default=1, show_default=True, help="Look at every so many families only.")
def main(every: int) -> None:
    """Look at all families, and write docs/benchmarks/backbones.md."""
    torch.set_num_threads(1)
    rows = [survey(name) for name in track(smallest_of_each_family()[::every])]
    write(rows)
    for row in rows:
        for fault in row.faults:
            print(f"{row.name}: {fault}")


if __name__ == "__main__":
    main()
