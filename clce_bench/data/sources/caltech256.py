"""Caltech-256: photographs of 256 kinds of things, and a class of clutter.

There is no official split: a seeded one is made and stored. The clutter (``257.clutter``) is kept as a class, as the
papers' 257 classes have it. torchvision's class counts the ``.jpg`` files of a folder and then makes up their names;
here the files are listed.
"""

from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.fetch import obtain_unpacked

NAME = "caltech256"
PAGE = "https://data.caltech.edu/records/nyy15-4j048"
# Address and checksum as in torchvision 0.29.
FILE = File(
    "256_ObjectCategories.tar",
    (f"{PAGE}/files/256_ObjectCategories.tar",),
    "md5:67b4f42ca05d46448c6bb8ecd2220f6d",
    size=1_200_000_000,
    unpacked="256_ObjectCategories",
)


def read_caltech256(size: int) -> Images:
    """Lists the photographs.

    Args:
        size: not used: the ``dataset`` stage decodes the files.

    Raises:
        UserError: the archive cannot be had.
    """
    folder = obtain_unpacked(NAME, FILE, PAGE)
    paths = sorted(folder.glob("*/*.jpg"))
    return Images.of_files(ImageFile(path, f"{path.parent.name}/{path.stem}", path.parent.name) for path in paths)


CALTECH256 = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_caltech256,
    train_images=18_364,
    source="California Institute of Technology",
    licence="CC BY 4.0 for the collection",
    citation="Griffin, Holub and Perona, Caltech-256 object category dataset, CNS-TR-2007-001, 2007",
    files=(FILE,),
    page=PAGE,
    class_count=257,
    image_count=30_607,
)
