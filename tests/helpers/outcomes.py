"""Cells whose answers to each test image are made up, for tests of comparisons."""

import numpy as np
import pandas as pd


def make_cells(folder, effects, seeds=3, units=80, splits=(0,), noise=0.1, **axes):
    """Writes ``metrics.npz`` of cells and returns their summary.

    Args:
        folder: where the cells' directories go.
        effects: by setting, a dict of axes in a tuple of pairs: its accuracy, in [0, 1].
        seeds: runs per split.
        units: test images.
        splits: seeds of the splits.
        noise: standard deviation of the rest.
        axes: values of further columns.
    """
    rows = []
    for split in splits:
        rng = np.random.default_rng(split + 2)
        images = 0.1 * rng.normal(size=units)
        for setting, accuracy in effects.items():
            for seed in range(seeds):
                values = accuracy + images + noise * rng.normal(size=units)
                name = f"{split}-{seed}-" + "-".join(f"{key}{value}" for key, value in setting)
                directory = folder / name
                directory.mkdir(parents=True)
                np.savez(directory / "metrics.npz", **{"outcome.top1": values, "unit.top1": np.arange(units)})
                row = {
                    "dataset": "digits",
                    "images_per_class": np.nan,
                    "label_noise": 0.0,
                    "backbone": "resnet18",
                    "overlap": "no",
                    "hazards": "",
                    "batch_size": 64,
                }
                row |= {"lambda": 0.9, "status": "done", "grids": "main", "fold": 0, "validation": accuracy} | axes
                row |= {"cell": name, "directory": str(directory), "seed": seed, "split_seed": split}
                row |= {"test_fold": 0, "class_fold": 0}
                row |= {"test_to_train": 0.4, "metric.top1": values.mean(), **dict(setting)}
                rows.append(row | ({"lambda": 0.0} if dict(setting).get("loss") == "ce" else {}))
    return pd.DataFrame(rows)


def setting(**axes):
    return tuple(axes.items())


def few_shot_cells(folder, class_folds=(0,), gain=0.05, seeds=3):
    """Cells of 5-way episodes over eleven classes of each fold."""
    rng, rows, metric = np.random.default_rng(5), [], "fewshot_5way_1shot"
    for fold in class_folds:
        ways = rng.permuted(np.tile(np.arange(11), (300, 1)), axis=1)[:, :5] + 11 * fold
        shared = 0.05 * rng.normal(size=300)
        for loss, more in (("ce", 0.0), ("clce", gain)):
            cells = make_cells(folder / f"{fold}", {setting(loss=loss): 0.5}, seeds=seeds).assign(class_fold=fold)
            for directory in cells["directory"]:
                values = 0.5 + more + shared + 0.02 * rng.normal(size=300)
                arrays = {f"outcome.{metric}": values, f"unit.{metric}": np.arange(300), f"ways.{metric}": ways}
                np.savez(f"{directory}/metrics.npz", **arrays)
            rows.append(cells.assign(**{f"metric.{metric}": 0.5 + more}))
    return pd.concat(rows, ignore_index=True).drop(columns="metric.top1")
