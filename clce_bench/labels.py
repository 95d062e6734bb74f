"""Names of losses and metrics as papers and axes write them."""

from clce_bench.components.loss_info import LOSSES, SELF_SUPERVISED

_METRICS = {
    "top1": "test top-1",
    "top5": "test top-5",
    "probe_top1": "linear-probe test top-1",
    "ncm_top1": "nearest-class-mean test top-1",
    "balanced_top1": "test mean accuracy per class",
    "balanced_probe_top1": "linear-probe test mean accuracy per class",
    "balanced_ncm_top1": "nearest-class-mean test mean accuracy per class",
    "train_top1": "training top-1",
    "nll": "negative log-likelihood (nats)",
    "nll_scaled": "negative log-likelihood (nats), one temperature",
    "ece": "expected calibration error",
    "ece_scaled": "expected calibration error, one temperature",
    "temperature": "temperature that the validation part prefers",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "cosine_positive": "mean cosine of positives",
    "cosine_negative": "mean cosine of negatives",
    "silhouette": "silhouette",
    "isoscore": "IsoScore",
    "effective_rank": "effective rank",
}


def loss_label(name: str) -> str:
    """Returns a loss's name as papers write it; the class name for a loss of the user's own."""
    base = supervised_loss(name)
    label = LOSSES[base].label if base in LOSSES else base.partition(":")[2] or base
    return label if base == name else f"{label}, self-supervised"


def supervised_loss(name: str) -> str:
    """Returns the loss of which this is the form without classes; itself if it is none."""
    return name.removesuffix(SELF_SUPERVISED)


def data_label(dataset: str, images_per_class: float) -> str:
    """Returns what a setting trains on: the data set, and how many images of each class if not all.

    Args:
        dataset: its name; of a folder of the user's own, the last part of its path.
        images_per_class: NaN for all.
    """
    name = dataset.rstrip("/").rpartition("/")[2] if dataset.startswith("folder:") else dataset
    return name if images_per_class != images_per_class else f"{name}, {images_per_class:g} per class"


def axis_label(axis: str) -> str:
    """Returns the name of what varies, such as ``batch size (images)`` or ``projection size``."""
    known = {"lambda": "λ", "batch_size": "batch size", "images_per_class": "images per class", "backbone": "encoder"}
    return known.get(axis, axis.rpartition(".")[2].replace("_", " "))


def value_label(value: float | str) -> str:
    """Writes a value of an axis: numbers without needless digits."""
    return value if isinstance(value, str) else f"{value:g}"


def setting_label(loss: str, weight: float) -> str:
    """Returns a loss's name with its λ, which cross-entropy does not have."""
    return loss_label(loss) if weight == 0 else f"{loss_label(loss)}, λ = {weight:g}"


def is_accuracy(metric: str) -> bool:
    """Says whether a metric is a share of correct answers, shown in per cent; others are shown as they are.

    Args:
        metric: its name, or the column of the summary.
    """
    name = metric.removeprefix("metric.")
    return name.endswith(("top1", "top5")) or name.startswith("fewshot_")


def is_main(metric: str) -> bool:
    """Says whether a metric is what tables and figures show first.

    That is top-1, also as the mean over classes and, where it is measured, on corrupted images; linear probe; few-shot
    accuracy by the nearest centroid.

    Args:
        metric: its name, or the column of the summary.
    """
    name = metric.removeprefix("metric.")
    if name.startswith("fewshot_"):
        return name.endswith("shot")
    return name in ("top1", "balanced_top1", "corruption_top1", "probe_top1")


def metric_label(metric: str, unit: str = "%") -> str:
    """Returns a metric's name with its unit.

    Args:
        metric: a column of the summary, such as ``metric.top1``.
        unit: of an accuracy: ``%``, or ``points`` for a difference; other metrics have none.
    """
    name = metric.removeprefix("metric.")
    if name.startswith("fewshot_"):
        way, shot, *method = name.removeprefix("fewshot_").split("_")
        by = ", logistic regression" if method == ["logistic"] else ""
        return f"{way.replace('way', '-way')} {shot.replace('shot', '-shot')} accuracy{by} ({unit})"
    label = _METRICS.get(name, name)
    return f"{label} ({unit})" if is_accuracy(name) else label
