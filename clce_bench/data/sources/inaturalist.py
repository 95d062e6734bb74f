"""iNaturalist 2017: photographs of 5,089 species.

torchvision's class lists training and validation images merged; the official parts are in the annotations, which it
does not fetch. The labels of the test images were never published, so the official validation part is the test part.
"""

import json
from pathlib import Path

from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.fetch import obtain_unpacked
from clce_bench.errors import UserError

NAME = "inaturalist2017"
PAGE = "https://github.com/visipedia/inat_comp/tree/master/2017"
_BASE = "https://ml-inat-competition-datasets.s3.amazonaws.com/2017/"
# Addresses and the MD5 as on the page, sizes and the SHA-256 as in TensorFlow Datasets 4.9.10.
IMAGES = File(
    "train_val_images.tar.gz",
    (f"{_BASE}train_val_images.tar.gz",),
    "md5:7c784ea5e424efaec655bd392f87301f",
    size=198_765_436_676,
    unpacked="train_val_images",
)
ANNOTATIONS = File(
    "train_val2017.zip",
    (f"{_BASE}train_val2017.zip",),
    "sha256:e030b52cca0b54709b0b976ddcf811513e05771cabbae4ac5899a56599e9066c",
    size=26_836_398,
    unpacked="train_val2017",
)


def read_inaturalist(size: int) -> Images:
    """Lists the photographs: official training part, and official validation part as test.

    Args:
        size: not used: the files are decoded when they are needed.

    Raises:
        UserError: the archives cannot be had, or are not those of iNaturalist 2017.
    """
    lists = obtain_unpacked(NAME, ANNOTATIONS, PAGE)
    photographs = obtain_unpacked(NAME, IMAGES, PAGE)
    return Images.of_files(
        ImageFile(
            path=photographs.parent / file,
            id=file.removeprefix("train_val_images/").removesuffix(".jpg"),
            label=label,
            part=part,
        )
        for part, name in (("train", "train2017.json"), ("test", "val2017.json"))
        for file, label in _annotations(lists / name)
    )


def _annotations(path: Path) -> list[tuple[str, str]]:
    """Returns file and ``supercategory/species`` of each image; the same species may be in two supercategories."""
    try:
        content = json.loads(path.read_text())
        names = {entry["id"]: f"{entry['supercategory']}/{entry['name']}" for entry in content["categories"]}
        label_of = {entry["image_id"]: names[entry["category_id"]] for entry in content["annotations"]}
        return [(entry["file_name"], label_of[entry["id"]]) for entry in content["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not iNaturalist's annotations: {error!r}.") from None


INATURALIST2017 = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_inaturalist,
    train_images=463_347,
    source="iNaturalist competition at FGVC4",
    licence="non-commercial research and education; each photograph has a licence of its own",
    citation="Van Horn et al., The iNaturalist species classification and detection dataset, CVPR 2018",
    files=(IMAGES, ANNOTATIONS),
    page=PAGE,
    class_count=5089,
    image_count=675_170,
    large=True,
)
