"""How many images the classes of a data set have: enough to learn from, and how unequal."""

from collections import Counter
from collections.abc import Sequence

from clce_bench.errors import UserError

BALANCED = 10
"""Largest over smallest class, above which accuracy says little about small classes."""


def check_class_sizes(name: str, labels: Sequence[str], parts: Sequence[str | None]) -> None:
    """Checks that every class has images to train on and to validate with, and to test on where no part is official.

    Args:
        name: the data set's, for the message.
        labels: the class of each image.
        parts: the official part of each image.

    Raises:
        UserError: a class has too few.
    """
    divided = any(parts)
    training = Counter(label for label, part in zip(labels, parts, strict=True) if part in (None, "train"))
    needed = 2 if divided else 3
    for label in sorted(set(labels)):
        if training[label] < needed:
            found = f"{training[label]} images to train on" if divided else f"{training[label]} images"
            raise UserError(f"{name}: the class {label!r} has {found}; at least {needed} are needed.")


def imbalance_warning(name: str, sizes: tuple[int, int] | None) -> str:
    """Warns where accuracy hides what becomes of small classes.

    Args:
        name: the data set's.
        sizes: images of its smallest and of its largest class, if they are known.

    Returns:
        A sentence, or nothing up to :data:`BALANCED` to one.
    """
    if not sizes or sizes[1] <= BALANCED * sizes[0]:
        return ""
    smallest, largest = sizes
    return (
        f"{name} is imbalanced: its classes have {smallest:,} to {largest:,} images ({largest / smallest:.0f} : 1). "
        "Accuracy says little about the small ones; look at metrics that count classes alike."
    )
