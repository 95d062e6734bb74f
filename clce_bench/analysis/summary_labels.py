"""Names of what the summary has, for readers: all metrics, also those of measures that grids ask for, and data.

They are not in ``labels.py``, which is code of training: a word more there would train every cell again.
"""

from clce_bench import labels

_MEASURES = {
    "knn_top1": "nearest-neighbour test top-1",
    "recall_at_1": "recall at 1",
    "map_at_r": "mean average precision at R",
    "corruption_top1": "test top-1 under corruptions",
    "corruption_noise_top1": "test top-1 under noise",
    "corruption_blur_top1": "test top-1 under blur",
    "corruption_weather_top1": "test top-1 in weather",
    "corruption_digital_top1": "test top-1 under digital corruptions",
}
_SCORES = {
    "softmax": "maximum softmax",
    "energy": "energy",
    "mahalanobis": "Mahalanobis distance",
    "neighbour": "nearest-neighbour distance",
}


def of_measure(metric: str) -> bool:
    """Says whether a metric is of a measure that a grid asked for.

    Args:
        metric: its name, or the column of the summary.
    """
    name = metric.removeprefix("metric.")
    return name in _MEASURES or name.startswith("auroc_")


def is_accuracy(metric: str) -> bool:
    """Says whether a metric is a share of right answers, or of pairs in the right order, shown in per cent.

    Args:
        metric: its name, or the column of the summary.
    """
    return of_measure(metric) or labels.is_accuracy(metric)


def data_label(dataset: str, images_per_class: float, label_noise: float = 0.0) -> str:
    """Returns what a setting trains on: the data set, how many images of each class if not all, how many wrong labels.

    Args:
        dataset: its name; of a folder of the user's own, the last part of its path.
        images_per_class: NaN for all.
        label_noise: share of the labels that are wrong.
    """
    wrong = f", {100 * label_noise:g} % wrong labels" if label_noise else ""
    return labels.data_label(dataset, images_per_class) + wrong


def metric_label(metric: str, unit: str = "%") -> str:
    """Returns a metric's name with its unit.

    Args:
        metric: a column of the summary, such as ``metric.top1``.
        unit: of an accuracy: ``%``, or ``points`` for a difference; other metrics have none.
    """
    name = metric.removeprefix("metric.")
    if not of_measure(name):
        return labels.metric_label(metric, unit)
    if name.startswith("auroc_"):
        _, score, other = name.split("_", 2)
        return f"AUROC, outliers {other}, {_SCORES[score]} ({unit})"
    return f"{_MEASURES[name]} ({unit})"
