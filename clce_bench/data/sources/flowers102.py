"""Oxford 102 Flowers: photographs, with lists in MATLAB's format.

torchvision's parser is right, but keeps paths and labels in private attributes; its list of class names is used.
"""

import numpy as np

from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.fetch import obtain, obtain_unpacked

NAME = "flowers102"
PAGE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
# Addresses and checksums as in torchvision 0.29, sizes as in TensorFlow Datasets 4.9.10.
ARCHIVE = File(
    "102flowers.tgz",
    (f"{PAGE}102flowers.tgz",),
    "md5:52808999861908f626f3c1f4e79d11fa",
    size=344_862_509,
    unpacked="jpg",
)
LISTS = (
    File("imagelabels.mat", (f"{PAGE}imagelabels.mat",), "md5:e0620be6f572b9609742df49c70aed4d", 502),
    File("setid.mat", (f"{PAGE}setid.mat",), "md5:a5357ecc9cb78c4bef273ce3793fc85c", 14_989),
)


def read_flowers102(size: int) -> Images:
    """Lists the photographs with the official training, validation and test parts.

    Args:
        size: not used: the ``dataset`` stage decodes the files.

    Raises:
        UserError: the files cannot be had.
    """
    from scipy.io import loadmat
    from torchvision.datasets import Flowers102

    folder = obtain(NAME, LISTS, PAGE)
    photographs = obtain_unpacked(NAME, ARCHIVE, PAGE)
    labels = np.atleast_1d(loadmat(folder / "imagelabels.mat", squeeze_me=True)["labels"])
    members = loadmat(folder / "setid.mat", squeeze_me=True)
    return Images.of_files(
        ImageFile(photographs / f"{name}.jpg", name, Flowers102.classes[labels[number - 1] - 1], part)
        for key, part in (("trnid", "train"), ("valid", "validation"), ("tstid", "test"))
        for number in np.atleast_1d(members[key]).tolist()
        for name in [f"image_{number:05d}"]
    )


FLOWERS102 = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_flowers102,
    train_images=1020,
    source="Visual Geometry Group, University of Oxford",
    licence="none stated",
    citation="Nilsback and Zisserman, Automated flower classification over a large number of classes, ICVGIP 2008",
    files=(ARCHIVE, *LISTS),
    page=PAGE,
    class_count=102,
    image_count=8189,
)
