"""A methods paragraph and references for a paper, made from what was run; and the experiment as a file."""

import re
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from clce_bench import __version__
from clce_bench.analysis.summary_labels import data_label
from clce_bench.data.dataset import Dataset
from clce_bench.experiment.schema import Experiment
from clce_bench.labels import loss_label, supervised_loss
from clce_bench.planning.plan import Plan


def methods_of(plan: Plan, summary: pd.DataFrame) -> str:
    """Writes the paragraph: data, splits, backbone, recipe, statistics, versions.

    Args:
        plan: with the cells.
        summary: of the same cells.
    """
    cells = plan.cells
    losses = [loss_label(name) for name in sorted({cell.loss_name for cell in cells if cell.contrastive_weight > 0})]
    data = [data_label(name, float("nan")) for name in sorted({cell.dataset for cell in cells})]
    seeds = summary.groupby(["dataset", "loss", "lambda", "batch_size"])["seed"].nunique()
    versions = sorted(set(summary["versions"].dropna()))
    devices = sorted(set(summary["device"].dropna()))
    freezes = {"none": "all of it was trained", "all": "only the heads were trained"}
    backbones = sorted(
        {
            f"{cell.backbone.name} (weights: {cell.backbone.weights}; "
            f"{freezes.get(cell.backbone.freeze, f'frozen up to {cell.backbone.freeze}')})"
            for cell in cells
        }
    )
    recipes = {
        (
            f"{cell.recipe.optimizer}, {cell.recipe.epochs} epochs, peak learning rate {cell.recipe.learning_rate:g} "
            f"at batch size {cell.recipe.reference_batch_size} ({cell.recipe.learning_rate_scaling} scaling), warm-up "
            f"over {cell.recipe.warmup:.0%} of the steps and cosine decay, weight decay {cell.recipe.weight_decay:g}, "
            f"{cell.recipe.views} views per image"
        )
        for cell in cells
    }
    recipe = recipes.pop() if len(recipes) == 1 else f"{len(recipes)} recipes, listed with the cells"
    sizes = ", ".join(f"{size}" for size in sorted({cell.batch_size for cell in cells}))
    weights = ", ".join(f"{weight:g}" for weight in sorted({cell.contrastive_weight for cell in cells} - {0.0}))
    least, most = int(seeds.min()), int(seeds.max())
    shown = f"{least} to {most}" if least < most else f"{most}"
    fused = (
        f"We compare cross-entropy with {', '.join(losses)}, each combined with cross-entropy as (1 − λ)·CE + "
        f"λ·contrastive for λ in {{{weights}}}, "
        if losses
        else "We train with cross-entropy "
    )
    return (
        f"{fused}on {', '.join(data)} with batch sizes {sizes} and {shown} seed{'s' * (most != 1)} per setting "
        f"({len(cells)} training runs). The backbone is {'; '.join(backbones)}. Training used {recipe}. At each seed "
        "all losses see the same images in the same order and the same augmented views, and start from the same "
        "weights. Official test parts are used where there are any, otherwise a held-out part; settings are chosen on "
        "a validation part, and the test part is read once, after training. Means have 95 % intervals over seeds and "
        "test images; differences are paired over both, and p-values within a table are corrected by Holm's method. "
        f"Experiments ran with clce_bench {__version__} ({'; '.join(versions)}) on {'; '.join(devices)}."
    )


def references_of(plan: Plan, sources: list[Dataset]) -> str:
    """Lists BibTeX of the losses' papers, the data sets and this project."""
    known: dict[str, str] = yaml.safe_load(
        (files("clce_bench") / "data_files" / "references.yaml").read_text(encoding="utf-8")
    )
    losses = {supervised_loss(cell.loss_name) for cell in plan.cells}
    entries = [known[name].replace("{version}", __version__) for name in ("", *sorted(losses)) if name in known]
    for source in sources:
        key = re.sub("[^A-Za-z0-9]+", "-", source.name).strip("-").lower()
        entries.append(f"@misc{{data-{key},\n  title = {{{source.name}}},\n  note = {{{source.citation}}}\n}}\n")
    return "\n".join(entries)


def as_yaml(experiment: Experiment) -> str:
    """Writes the experiment as a file that gives the same one again, without what is as it is by default."""
    values: dict[str, Any] = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for claim, told in zip(experiment.claims, values.get("claims", []), strict=False):
        told["kind"] = claim.kind  # The default of its own class, which is what the kind decides.
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
