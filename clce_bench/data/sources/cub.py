"""CUB-200-2011: photographs of 200 bird species. torchvision has no class for it."""

from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.fetch import obtain_unpacked
from clce_bench.data.sources.text_lists import read_pairs

NAME = "cub-200-2011"
PAGE = "https://data.caltech.edu/records/65de6-vp158"
# Size and checksum as in TensorFlow Datasets 4.9.10.
FILE = File(
    "CUB_200_2011.tgz",
    (f"{PAGE}/files/CUB_200_2011.tgz",),
    "sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
    size=1_150_585_339,
    unpacked="CUB_200_2011",
)


def read_cub(size: int) -> Images:
    """Lists the photographs with the official training and test parts.

    Args:
        size: not used: the ``dataset`` stage decodes the files.

    Raises:
        UserError: the archive cannot be had, or is not CUB-200-2011's.
    """
    folder = obtain_unpacked(NAME, FILE, PAGE)
    names = dict(read_pairs(folder / "classes.txt"))
    label_of = dict(read_pairs(folder / "image_class_labels.txt"))
    training = dict(read_pairs(folder / "train_test_split.txt"))
    return Images.of_files(
        ImageFile(
            path=folder / "images" / name,
            id=name.removesuffix(".jpg"),
            label=names[label_of[number]],
            part="train" if training[number] == "1" else "test",
        )
        for number, name in read_pairs(folder / "images.txt")
    )


CUB = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_cub,
    train_images=4795,
    source="California Institute of Technology",
    licence="see the page; the photographs belong to their photographers",
    citation="Wah et al., The Caltech-UCSD Birds-200-2011 dataset, CNS-TR-2011-001, 2011",
    files=(FILE,),
    page=PAGE,
    class_count=200,
    image_count=11_788,
)
