"""Image classification sets of the Hugging Face hub, read by the library ``datasets``: ``hf:OWNER/NAME[@REVISION]``.

The library runs no code of a data set. Columns are found by type: the image, and the class label.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clce_bench.data.dataset import Dataset, ImageFile, Images
from clce_bench.data.fetch import data_folder, exclusive
from clce_bench.data.sources.folder import PARTS
from clce_bench.errors import UserError
from clce_bench.files import read_json, write_json

ASSUMED = 10_000
"""Training images that plans count on: how many there are is known once a set was read."""
RECORD = "revision.json"


def hugging_face_dataset(name: str) -> Dataset:
    """Describes a data set of the hub; nothing is fetched for that.

    Args:
        name: ``hf:OWNER/NAME``, also with ``@REVISION``, a commit, branch or tag. Without one, the newest commit is
            recorded when it is first read, and holds from then on. ``hf:./PATH`` is a folder that the library reads.

    Raises:
        UserError: it is written otherwise.
    """
    repository, revision = _parse(name)
    return Dataset(
        name=name,
        images=name,
        task="classification",
        read=lambda _size: read_hugging_face(name),
        train_images=ASSUMED,
        source=f"the Hugging Face hub, {repository}" + (f" at {revision}" if revision else ""),
        licence="not known",
        citation="not known",
        page="" if _is_local(repository) else f"https://huggingface.co/datasets/{repository}",
    )


def read_hugging_face(name: str) -> Images:
    """Fetches a data set, or takes it from the library's cache, and writes its images as files.

    Args:
        name: as for :func:`hugging_face_dataset`.

    Raises:
        UserError: it cannot be had, or has no image, no class, or no labels.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(f"{name}: the library datasets is missing: .venv/bin/pip install -e '.[hf]'.") from None
    repository, revision = _parse(name)
    root = data_folder() / name.replace("/", "--")
    with exclusive(root):
        try:
            pinned = None if _is_local(repository) else revision or _recorded(root, repository)
            found = datasets.load_dataset(repository, revision=pinned)
            fingerprints = [split._fingerprint for split in found.values()]
            commits = {Path(file["filename"]).parent.name for split in found.values() for file in split.cache_files}
        except UserError:
            raise
        except Exception as error:  # The library, and the hub's client below it, raise whatever their servers cause.
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UserError(f"{name}: cannot be had: {reason}.") from error
        # Without a network, the library takes the newest commit of its cache, whichever was asked for.
        if pinned and re.fullmatch(r"[0-9a-f]{40}", pinned) and (other := sorted(commits - {pinned})):
            raise UserError(f"{name}: cannot be had at {pinned}; the cache has {other[0]}.")
        parts = _parts(name, found)
        return Images.of_files(_write(name, parts, root / "-".join(sorted(fingerprints))[:100]))


def _parse(name: str) -> tuple[str, str]:
    repository, _, revision = name.partition(":")[2].partition("@")
    if not _is_local(repository) and (repository.count("/") != 1 or not all(repository.split("/"))):
        raise UserError(f"{name}: not allowed. Expected: hf:OWNER/NAME, hf:OWNER/NAME@REVISION, or hf:./FOLDER.")
    return repository, revision


def _is_local(repository: str) -> bool:
    return repository.startswith(("./", "../", "/"))


def _recorded(root: Path, repository: str) -> str:
    """Returns the commit that was the newest one when the set was first read."""
    from huggingface_hub import HfApi

    if not (root / RECORD).exists():
        write_json(root / RECORD, {"repository": repository, "commit": HfApi().dataset_info(repository).sha})
    return str(read_json(root / RECORD)["commit"])


def _parts(name: str, found: Any) -> dict[str | None, tuple[Any, str, str]]:
    """Picks the splits whose labels are public, by official part, each with its columns of images and of classes."""
    labelled = {}
    for key, split in found.items():
        image, label = _columns(name, split)
        if min(split.unique(label), key=lambda value: (value is not None, value)) not in (None, -1):
            labelled[key] = (split, image, label)
    if not labelled:
        raise UserError(f"{name}: no split has labels; found {', '.join(found)}.")
    if len(labelled) == 1:
        return {None: next(iter(labelled.values()))}
    parts: dict[str | None, tuple[Any, str, str]] = {
        PARTS[key.lower()]: split for key, split in labelled.items() if key.lower() in PARTS
    }
    if "train" not in parts:
        raise UserError(f"{name}: has the splits {', '.join(labelled)}, none of them called train.")
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")  # As with every set here whose test labels are not public.
    return parts if len(parts) > 1 else {None: parts["train"]}


def _columns(name: str, split: Any) -> tuple[str, str]:
    """Finds the columns of images and of classes by their types.

    Of several images, the one called ``image`` or ``img`` counts; of several class labels, the one called ``label``, or
    else the one with the most classes.
    """
    from datasets import ClassLabel, Image

    images = [key for key, feature in split.features.items() if isinstance(feature, Image)]
    labels = {key: feature.num_classes for key, feature in split.features.items() if isinstance(feature, ClassLabel)}
    others = [key for key in split.features if key not in images]
    if len(images) > 1:
        images = [key for key in images if key in ("image", "img")]
    if not labels and len(others) == 1:
        labels = {others[0]: 0}  # Names or numbers, without a declared list of them.
    if len(images) != 1 or not labels:
        told = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in split.features.items())
        raise UserError(f"{name}: expected a column of images and one of class labels; found {told}.")
    return images[0], "label" if "label" in labels else max(labels, key=lambda key: labels[key])


def _write(name: str, parts: dict[str | None, tuple[Any, str, str]], folder: Path) -> Iterable[ImageFile]:
    """Writes the image files of all parts, whole or not at all, and lists them."""
    from datasets import Image

    if not folder.exists():
        writing = folder.with_name(f"{folder.name}.writing")
        shutil.rmtree(writing, ignore_errors=True)
        for part, (split, column, _) in parts.items():
            (writing / (part or "all")).mkdir(parents=True)
            for row, item in enumerate(split.select_columns(column).cast_column(column, Image(decode=False))):
                image = item[column]
                if image is None:
                    raise UserError(f"{name}: row {row} of {part or 'its split'} has no image.")
                content = image["bytes"] or Path(image["path"]).read_bytes()
                (writing / (part or "all") / f"{row:07d}").write_bytes(content)
        writing.rename(folder)
    for part, (split, _, column) in parts.items():
        feature = split.features[column]
        for row, label in enumerate(split[column]):
            told = feature.int2str(label) if hasattr(feature, "int2str") else str(label)
            place = f"{part or 'all'}/{row:07d}"
            yield ImageFile(folder / place, place, told, part)
