"""Names of losses and metrics as papers and axes write them."""

_LOSSES = {
    "ce": "CE",
    "supcon": "SupCon",
    "schane": "SCHaNe",
    "clce": "CLCE",
    "tcl": "TCL",
    "ntxent": "NT-Xent",
    "hcl": "HCL",
}
_METRICS = {"top1": "test top-1", "probe_top1": "linear-probe test top-1"}


def loss_label(name: str) -> str:
    """Returns a loss's name as papers write it; the class name for a loss of the user's own."""
    return _LOSSES.get(name, name.partition(":")[2] or name)


def data_label(dataset: str, images_per_class: float) -> str:
    """Returns what a setting trains on: the data set, and how many images of each class if not all.

    Args:
        dataset: its name; of a folder of the user's own, the last part of its path.
        images_per_class: NaN for all.
    """
    name = dataset.rstrip("/").rpartition("/")[2] if dataset.startswith("folder:") else dataset
    return name if images_per_class != images_per_class else f"{name}, {images_per_class:g} per class"


def metric_label(metric: str, unit: str = "%") -> str:
    """Returns a metric's name with its unit.

    Args:
        metric: a column of the summary, such as ``metric.top1``.
        unit: ``%``, or ``points`` for a difference.
    """
    name = metric.removeprefix("metric.")
    if name.startswith("fewshot_"):
        way, shot = name.removeprefix("fewshot_").split("_")
        return f"{way.replace('way', '-way')} {shot.replace('shot', '-shot')} accuracy ({unit})"
    return f"{_METRICS.get(name, name)} ({unit})"
