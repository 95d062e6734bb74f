"""What a data set is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class File:
    """A file that a data set is published as.

    Attributes:
        name: as its publisher calls it.
        urls: where it can be had, tried in order; empty when an account or a licence is needed.
        checksum: ``md5:…`` or ``sha256:…``; empty when none is known: the first download then records what it saw.
        size: in bytes, about; 0 when unknown.
        unpacked: for an archive, the folder that it becomes; with that in place the archive itself is not needed.
    """

    name: str
    urls: tuple[str, ...] = ()
    checksum: str = ""
    size: int = 0
    unpacked: str = ""


class ImageFile(NamedTuple):
    """An image file with its labels.

    Attributes:
        path: where it is.
        id: a unique name.
        label: the name of its class.
        part: its official part, ``train``, ``validation`` or ``test``, in a data set that has parts.
        group: what it shares with its near-copies; its ``id`` when not given.
    """

    path: Path
    id: str
    label: str
    part: str | None = None
    group: str = ""


@dataclass(frozen=True)
class Images:
    """Images with their labels.

    Attributes:
        pixels: decoded, uint8, (images, size, size, 3); or image files, which the ``dataset`` stage decodes.
        ids: a unique name per image.
        classes: the class name of each image.
        groups: images with the same group are near-copies and stay on one side of a split.
        parts: the official part of each image, ``train``, ``validation`` or ``test``; ``None`` when there are none.
    """

    pixels: NDArray[np.uint8] | list[Path]
    ids: list[str]
    classes: list[str]
    groups: list[str]
    parts: list[str] | None = None

    @classmethod
    def of_files(cls, files: Iterable[ImageFile]) -> "Images":
        """Describes image files, of which all or none have a part."""
        listed = list(files)
        return cls(
            pixels=[file.path for file in listed],
            ids=[file.id for file in listed],
            classes=[file.label for file in listed],
            groups=[file.group or file.id for file in listed],
            parts=[file.part for file in listed if file.part] or None,
        )


@dataclass(frozen=True)
class Dataset:
    """A data set: where its images come from and how it is meant to be used.

    Attributes:
        name: the name in experiment files.
        images: name of the data set whose images it uses; its own name but for re-splits of another set.
        task: ``classification`` (all classes in all parts) or ``few-shot`` (disjoint classes).
        read: decodes all images at a size in pixels.
        train_images: images in the training part of the default split.
        source: where the images come from.
        licence: their licence.
        citation: whom to credit.
        files: what is downloaded, or placed by hand; empty when a package brings the images.
        uses: other data sets whose files it reads as well.
        page: where a person reads about the data set and gets what cannot be downloaded.
        class_count: how many classes there are; 0 when that depends on the user's files.
        image_count: how many images there are, of all parts; 0 likewise.
        class_sizes: images of the smallest and of the largest class, where that is known before they are read.
        large: the images stay files; otherwise they are decoded once into an array.
        state: changes when the images may have changed; empty when only the code decides about them.
    """

    name: str
    images: str
    task: Literal["classification", "few-shot"]
    read: Callable[[int], Images]
    train_images: int
    source: str
    licence: str
    citation: str
    files: tuple[File, ...] = ()
    uses: tuple[str, ...] = ()
    page: str = ""
    class_count: int = 0
    image_count: int = 0
    class_sizes: tuple[int, int] | None = None
    large: bool = False
    state: str = ""
