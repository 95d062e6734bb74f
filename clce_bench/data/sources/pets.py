"""Oxford-IIIT Pet: photographs of 37 breeds of cats and dogs.

torchvision's parser is right, but keeps paths and labels in private attributes.
"""

from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.fetch import obtain_unpacked
from clce_bench.data.sources.text_lists import read_pairs

NAME = "oxford-iiit-pet"
PAGE = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
_MIRRORS = (f"{PAGE}data/", "https://thor.robots.ox.ac.uk/~vgg/data/pets/")
# Checksums as in torchvision 0.29, sizes and the second address as in TensorFlow Datasets 4.9.10.
IMAGES = File(
    "images.tar.gz",
    tuple(f"{mirror}images.tar.gz" for mirror in _MIRRORS),
    "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
    size=791_918_971,
    unpacked="images",
)
ANNOTATIONS = File(
    "annotations.tar.gz",
    tuple(f"{mirror}annotations.tar.gz" for mirror in _MIRRORS),
    "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
    size=19_173_078,
    unpacked="annotations",
)


def read_pets(size: int) -> Images:
    """Lists the photographs with the official parts, ``trainval`` and ``test``.

    Args:
        size: not used: the ``dataset`` stage decodes the files.

    Raises:
        UserError: the archives cannot be had, or are not those of the Oxford-IIIT Pets.
    """
    photographs = obtain_unpacked(NAME, IMAGES, PAGE)
    lists = obtain_unpacked(NAME, ANNOTATIONS, PAGE)
    return Images.of_files(
        ImageFile(photographs / f"{name}.jpg", name, name.rpartition("_")[0], part)
        for part, file in (("train", "trainval.txt"), ("test", "test.txt"))
        for name, _ in read_pairs(lists / file)
    )


PETS = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_pets,
    train_images=2944,
    source="Visual Geometry Group, University of Oxford",
    licence="see the page; the photographs belong to their owners",
    citation="Parkhi et al., Cats and dogs, CVPR 2012",
    files=(IMAGES, ANNOTATIONS),
    page=PAGE,
    class_count=37,
    image_count=7349,
)
