"""Places365-Standard, the images of 256 × 256 pixels: photographs of 365 kinds of places.

The labels of the test images are not public, so the official validation part is the test part. torchvision's parser
is right but makes one data set of each part, and renames what it unpacks; the lists are read here instead.
"""

from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.fetch import obtain_unpacked
from clce_bench.data.sources.text_lists import read_pairs

NAME = "places365"
PAGE = "http://places2.csail.mit.edu/download.html"
_BASE = "http://data.csail.mit.edu/places/places365/"
# Addresses and checksums as in torchvision 0.29, sizes as in TensorFlow Datasets 4.9.10.
TRAIN = File(
    "train_256_places365standard.tar",
    (f"{_BASE}train_256_places365standard.tar",),
    "md5:53ca1c756c3d1e7809517cc47c5561c5",
    size=26_103_685_120,
    unpacked="data_256",
)
VALIDATION = File(
    "val_256.tar",
    (f"{_BASE}val_256.tar",),
    "md5:e27b17d8d44f4af9a78502beb927f808",
    size=525_158_400,
    unpacked="val_256",
)
LISTS = File(
    "filelist_places365-standard.tar",
    (f"{_BASE}filelist_places365-standard.tar",),
    "md5:35a0585fee1fa656440f3ab298f8479c",
    size=67_498_496,
    unpacked="filelist_places365-standard",
)


def read_places365(size: int) -> Images:
    """Lists the photographs: official training part, and official validation part as test.

    Args:
        size: not used: the files are decoded when they are needed.

    Raises:
        UserError: the archives cannot be had, or are not those of Places365.
    """
    lists = obtain_unpacked(NAME, LISTS, PAGE)
    names = {number: name.removeprefix("/") for name, number in read_pairs(lists / "categories_places365.txt")}
    parts = (
        ("train", "places365_train_standard.txt", obtain_unpacked(NAME, TRAIN, PAGE)),
        ("test", "places365_val.txt", obtain_unpacked(NAME, VALIDATION, PAGE)),
    )
    return Images.of_files(
        ImageFile(folder / name, name.removesuffix(".jpg"), names[number], part)
        for part, file, folder in parts
        for path, number in read_pairs(lists / file)
        for name in [path.removeprefix("/")]
    )


PLACES365 = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_places365,
    train_images=1_442_768,
    source="Massachusetts Institute of Technology",
    licence="see the page; the photographs belong to their owners",
    citation="Zhou et al., Places: a 10 million image database for scene recognition, TPAMI 2018",
    files=(TRAIN, VALIDATION, LISTS),
    page=PAGE,
    class_count=365,
    image_count=1_839_960,
    large=True,
)
