"""The model card of an exported cell, from its records."""

from importlib.metadata import PackageNotFoundError, metadata

import timm

from clce_bench import __version__
from clce_bench.files import read_json
from clce_bench.inference.trained_cell import TrainedCell
from clce_bench.labels import setting_label

UNKNOWN = "not known"
SOURCES = {
    "classifier": "Its logits are those of the linear classifier that was trained with it.",
    "linear probe": "It was trained without a classifier. Its logits are those of the linear probe that "
    "evaluation fitted on its features.",
    "none": "It has no classifier: the model computes features (`num_classes=0`).",
}


def model_card(trained: TrainedCell, source: str) -> str:
    """Writes the model card, in Markdown.

    Args:
        trained: the cell.
        source: where its logits come from: a key of ``SOURCES``.
    """
    cell, record = trained.cell, trained.record
    data, backbone = read_json(trained.inputs["dataset"]), read_json(trained.inputs["backbone"])
    path = trained.directory / "metrics.json"
    metrics = read_json(path)["metrics"] if path.exists() else {}
    setting = setting_label(cell.loss_name, cell.contrastive_weight)
    environment = record["environment"]
    versions = {"clce_bench": __version__, "python": environment["python"], **environment["packages"]}
    sections = {
        "Data": {
            "data set": cell.dataset,
            "images": data["images"],
            "classes": len(trained.classes),
            "size in pixels": f"{cell.size} × {cell.size}, proportions not kept",
            "licence": data.get("licence") or UNKNOWN,
        },
        "Split": record["job"]["spec"]["split"],
        "Recipe": {
            "loss": setting,
            **{f"loss.{key}": value for key, value in record["job"]["spec"]["loss"].items() if key != "name"},
            "batch size": cell.batch_size,
            "seed": cell.seed,
            "frozen up to": cell.backbone.freeze,
            **record["job"]["spec"]["recipe"],
        },
        "Metrics on the test part": {name: f"{value:.6g}" for name, value in metrics.items()} or {"none": "–"},
        "Versions": versions,
        "Licences": {
            f"weights that it started from ({backbone['weights']})": weights_licence(backbone),
            "data": data.get("licence") or UNKNOWN,
            "code": "Apache-2.0",
        },
    }
    head = f"""---
library_name: timm
pipeline_tag: {"image-classification" if source != "none" else "image-feature-extraction"}
tags: [timm, image-classification, clce_bench]
license: other
---
# {backbone["name"]}, {setting}, on {cell.dataset}

Trained by clce_bench as the cell `{record["name"]}`, {record["started"]}. {SOURCES[source]}

```python
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
outputs = model(transform(image).unsqueeze(0))
```
"""
    return head + "".join(_table(title, rows) for title, rows in sections.items())


def weights_licence(backbone: dict[str, str]) -> str:
    """Finds the licence of the weights that a backbone started from.

    Args:
        backbone: the content of ``backbone.json``.
    """
    kind, _, package = backbone["weights"].partition(":")
    if kind == "random":
        return "none: they were random"
    if kind == "timm":
        config = timm.get_pretrained_cfg(backbone["name"])
        return (config.license if config else None) or UNKNOWN
    if kind == "package":
        try:
            said = metadata(package)
        except PackageNotFoundError:
            return UNKNOWN
        # Packages say it in one of three fields, depending on their age.
        classifiers = [one.rpartition(" :: ")[2] for one in said.get_all("Classifier", []) if one.startswith("License")]
        fields = [said[field] for field in ("License-Expression", "License") if field in said]
        stated = [*fields, *classifiers]
        return next((one for one in stated if one and one != "UNKNOWN"), UNKNOWN)
    return UNKNOWN


def _table(title: str, rows: dict[str, object]) -> str:
    lines = [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join([f"\n## {title}\n", "| what | value |", "| --- | --- |", *lines, ""])


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
