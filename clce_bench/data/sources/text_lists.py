"""The text lists that data sets come with."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clce_bench.errors import UserError


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Reads a text file whose lines are a word, a blank, and the rest; empty lines do not count.

    Raises:
        UserError: there is no such file, it is no text, or a line has one word only.
    """
    try:
        lines = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip()]
        return [(first, rest.strip()) for first, rest in lines]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as pairs: {error}.") from None


def parts_of_classes(
    classes: Sequence[str], split: Mapping[str, Sequence[str]], counts: tuple[int, int, int]
) -> dict[str, str]:
    """Checks a split of the classes against the literature's counts and against the classes that were found.

    Args:
        classes: the class of each image.
        split: class names by part.
        counts: how many classes are for training, validation and test.

    Returns:
        The part of each class.

    Raises:
        UserError: another number of classes, a class in two parts, or one that has no images.
    """
    found = tuple(len(split[part]) for part in ("train", "validation", "test"))
    part_of = {name: part for part, names in split.items() for name in names}
    if found != counts or len(part_of) != sum(counts):
        raise UserError(f"class split: {found} classes for training, validation and test instead of {counts}.")
    missing = sorted(set(part_of) - set(classes))
    if missing:
        raise UserError(f"class split: {len(missing)} of its classes have no images, the first is {missing[0]!r}.")
    return part_of
