"""Torchvision's sets for classification: official parts, numbers, licences, and what is downloaded.

No publisher was reached when this table was written: its numbers and licences are what its authors knew of them.
Reading compares numbers of images and classes and refuses a set that differs. Sizes of downloads are about, 0 where
not known; licences are ``not known`` rather than guessed, and the publisher's page has the last word.

Not here: sets whose images have no single class (CelebA) or whose people differ between parts (LFW); videos.
"""

from typing import Any, NamedTuple

from clce_bench.data.dataset import File

NOT_KNOWN = "not known"
_TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
_SPLITS = {"train": {"split": "train"}, "test": {"split": "test"}}
_SPLITS_VAL = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}
_WITHOUT_PARTS: dict[str, dict[str, Any]] = {"": {}}


class Known(NamedTuple):
    """What is known of one of torchvision's sets.

    Attributes:
        parts: by official part, what torchvision's class is called with; the part is empty where there are none.
        images: how many there are in each part.
        classes: how many there are.
        page: the publisher's.
        citation: whom to credit.
        files: what is downloaded, below the set's folder; what it becomes says that nothing need be.
        licence: of the images.
        few_shot: the parts have classes of their own.
        image_files: images are files of their own; torchvision's class then takes what opens one.
    """

    parts: dict[str, dict[str, Any]]
    images: dict[str, int]
    classes: int
    page: str
    citation: str
    files: tuple[File, ...]
    licence: str = NOT_KNOWN
    few_shot: bool = False
    image_files: bool = True


def _published(page: str, name: str, size: int = 0, unpacked: str = "") -> tuple[File, ...]:
    return (File(name, (page,), size=size, unpacked=unpacked),)


def _emnist(split: str, train: int, test: int, classes: int) -> Known:
    page = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
    return Known(
        {part: {"split": split, **arguments} for part, arguments in _TRAIN_TEST.items()},
        {"train": train, "test": test},
        classes,
        page,
        "Cohen et al., EMNIST: extending MNIST to handwritten letters, IJCNN 2017",
        _published(page, "EMNIST/raw/gzip.zip", 561_753_746, "EMNIST/raw"),
        image_files=False,
    )


_CIFAR, _MNIST = "https://www.cs.toronto.edu/~kriz/cifar.html", "https://yann.lecun.com/exdb/mnist/"
_TINY_IMAGES = "Krizhevsky, Learning multiple layers of features from tiny images, 2009"
_IMAGENET = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
_PLACES = "http://places2.csail.mit.edu/download.html"
_CALTECH = "https://data.caltech.edu/records"
_FER = "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge"
_CARS = "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_CLIP = "https://github.com/openai/CLIP/blob/main/data"

KNOWN: dict[str, Known] = {
    "Caltech101": Known(
        _WITHOUT_PARTS,
        {"": 8677},
        101,
        f"{_CALTECH}/mzrjq-6wc02",
        "Fei-Fei, Fergus and Perona, Learning generative visual models from few training examples, 2004",
        _published(
            *(f"{_CALTECH}/mzrjq-6wc02", "caltech101/101_ObjectCategories.tar.gz", 131_740_031),
            unpacked="caltech101/101_ObjectCategories",
        ),
        "CC BY 4.0",
        image_files=False,
    ),
    "Caltech256": Known(
        _WITHOUT_PARTS,
        {"": 30_607},
        257,
        f"{_CALTECH}/nyy15-4j048",
        "Griffin, Holub and Perona, Caltech-256 object category dataset, CNS-TR-2007-001, 2007",
        _published(
            *(f"{_CALTECH}/nyy15-4j048", "caltech256/256_ObjectCategories.tar", 1_183_006_720),
            unpacked="caltech256/256_ObjectCategories",
        ),
        "CC BY 4.0",
        image_files=False,
    ),
    "CIFAR10": Known(
        *(_TRAIN_TEST, {"train": 50_000, "test": 10_000}, 10, _CIFAR, _TINY_IMAGES),
        _published(_CIFAR, "cifar-10-python.tar.gz", 170_498_071, "cifar-10-batches-py"),
        image_files=False,
    ),
    "CIFAR100": Known(
        *(_TRAIN_TEST, {"train": 50_000, "test": 10_000}, 100, _CIFAR, _TINY_IMAGES),
        _published(_CIFAR, "cifar-100-python.tar.gz", 169_001_437, "cifar-100-python"),
        image_files=False,
    ),
    # The classes are numbers of objects. Labels of the test part are not public.
    "CLEVRClassification": Known(
        {"train": {"split": "train"}, "test": {"split": "val"}},
        {"train": 70_000, "test": 15_000},
        8,
        "https://cs.stanford.edu/people/jcjohns/clevr/",
        "Johnson et al., CLEVR: a diagnostic dataset for compositional language and visual reasoning, CVPR 2017",
        _published(
            *("https://cs.stanford.edu/people/jcjohns/clevr/", "clevr/CLEVR_v1.0.zip", 19_021_600_724),
            unpacked="clevr/CLEVR_v1.0",
        ),
        "CC BY 4.0",
    ),
    "Country211": Known(
        {"train": {"split": "train"}, "validation": {"split": "valid"}, "test": {"split": "test"}},
        {"train": 31_650, "validation": 10_550, "test": 21_100},
        211,
        f"{_CLIP}/country211.md",
        "Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
        _published(f"{_CLIP}/country211.md", "country211.tgz", unpacked="country211"),
    ),
    "DTD": Known(
        _SPLITS_VAL,
        {"train": 1880, "validation": 1880, "test": 1880},
        47,
        f"{_VGG}/dtd/",
        "Cimpoi et al., Describing textures in the wild, CVPR 2014",
        _published(f"{_VGG}/dtd/", "dtd/dtd-r1.0.1.tar.gz", 637_880_000, "dtd/dtd"),
    ),
    "EMNIST-balanced": _emnist("balanced", 112_800, 18_800, 47),
    "EMNIST-byclass": _emnist("byclass", 697_932, 116_323, 62),
    "EMNIST-bymerge": _emnist("bymerge", 697_932, 116_323, 47),
    "EMNIST-digits": _emnist("digits", 240_000, 40_000, 10),
    "EMNIST-letters": _emnist("letters", 124_800, 20_800, 26),
    "EuroSAT": Known(
        _WITHOUT_PARTS,
        {"": 27_000},
        10,
        "https://github.com/phelber/eurosat",
        "Helber et al., EuroSAT: a novel dataset for land use and land cover classification, 2019",
        _published("https://github.com/phelber/eurosat", "eurosat/EuroSAT.zip", 94_280_567, "eurosat/2750"),
        "MIT",
    ),
    "FashionMNIST": Known(
        _TRAIN_TEST,
        {"train": 60_000, "test": 10_000},
        10,
        "https://github.com/zalandoresearch/fashion-mnist",
        "Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017",
        _published(
            *("https://github.com/zalandoresearch/fashion-mnist", "FashionMNIST/raw/….gz", 30_878_645),
            unpacked="FashionMNIST/raw",
        ),
        "MIT",
        image_files=False,
    ),
    "FER2013": Known(
        _SPLITS,
        {"train": 28_709, "test": 7178},
        7,
        _FER,
        "Goodfellow et al., Challenges in representation learning, ICONIP 2013",
        (File("fer2013/fer2013.csv"),),
        image_files=False,
    ),
    "FGVCAircraft": Known(
        _SPLITS_VAL,
        {"train": 3334, "validation": 3333, "test": 3333},
        100,
        f"{_VGG}/fgvc-aircraft/",
        "Maji et al., Fine-grained visual classification of aircraft, arXiv 1306.5151, 2013",
        _published(
            *(f"{_VGG}/fgvc-aircraft/", "fgvc-aircraft-2013b.tar.gz", 2_753_340_328), unpacked="fgvc-aircraft-2013b"
        ),
        "non-commercial research",
    ),
    "Flowers102": Known(
        _SPLITS_VAL,
        {"train": 1020, "validation": 1020, "test": 6149},
        102,
        f"{_VGG}/flowers/102/",
        "Nilsback and Zisserman, Automated flower classification over a large number of classes, ICVGIP 2008",
        _published(f"{_VGG}/flowers/102/", "flowers-102/102flowers.tgz", 344_862_509, "flowers-102/jpg"),
    ),
    "Food101": Known(
        _SPLITS,
        {"train": 75_750, "test": 25_250},
        101,
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        "Bossard, Guillaumin and Van Gool, Food-101: mining discriminative components, ECCV 2014",
        _published(
            *("https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/", "food-101.tar.gz", 4_996_278_331),
            unpacked="food-101",
        ),
    ),
    "GTSRB": Known(
        _SPLITS,
        {"train": 26_640, "test": 12_630},
        43,
        "https://benchmark.ini.rub.de/gtsrb_news.html",
        "Stallkamp et al., Man vs. computer: benchmarking machine learning for traffic sign recognition, 2012",
        _published("https://benchmark.ini.rub.de/gtsrb_news.html", "gtsrb/GTSRB-Training_fixed.zip", unpacked="gtsrb"),
        image_files=False,
    ),
    "ImageNet": Known(
        {"train": {"split": "train"}, "test": {"split": "val"}},
        {"train": 1_281_167, "test": 50_000},
        1000,
        _IMAGENET,
        "Russakovsky et al., ImageNet large scale visual recognition challenge, IJCV 2015",
        (
            File("ILSVRC2012_devkit_t12.tar.gz"),
            File("ILSVRC2012_img_train.tar", size=147_897_477_120, unpacked="train"),
            File("ILSVRC2012_img_val.tar", size=6_744_924_160, unpacked="val"),
        ),
        "non-commercial research and education, by agreement with ImageNet",
    ),
    "Imagenette": Known(
        {"train": {"split": "train"}, "test": {"split": "val"}},
        {"train": 9469, "test": 3925},
        10,
        "https://github.com/fastai/imagenette",
        "Howard, Imagenette, 2019",
        _published("https://github.com/fastai/imagenette", "imagenette2.tgz", 1_557_161_267, "imagenette2"),
        "Apache-2.0 for the collection; the photographs are ImageNet's",
    ),
    "INaturalist": Known(
        {"train": {"version": "2021_train"}, "test": {"version": "2021_valid"}},
        {"train": 2_686_843, "test": 100_000},
        10_000,
        "https://github.com/visipedia/inat_comp/tree/master/2021",
        "Van Horn et al., Benchmarking representation learning for natural world image collections, CVPR 2021",
        _published(
            *("https://github.com/visipedia/inat_comp/tree/master/2021", "2021_train.tgz"), unpacked="2021_train"
        ),
        "non-commercial research and education; each photograph has a licence of its own",
    ),
    "KMNIST": Known(
        _TRAIN_TEST,
        {"train": 60_000, "test": 10_000},
        10,
        "https://github.com/rois-codh/kmnist",
        "Clanuwat et al., Deep learning for classical Japanese literature, arXiv 1812.01718, 2018",
        _published("https://github.com/rois-codh/kmnist", "KMNIST/raw/….gz", 21_240_888, "KMNIST/raw"),
        "CC BY-SA 4.0",
        image_files=False,
    ),
    "MNIST": Known(
        _TRAIN_TEST,
        {"train": 60_000, "test": 10_000},
        10,
        _MNIST,
        "LeCun et al., Gradient-based learning applied to document recognition, 1998",
        _published(_MNIST, "MNIST/raw/….gz", 11_594_722, "MNIST/raw"),
        image_files=False,
    ),
    # Its alphabets differ between the parts.
    "Omniglot": Known(
        {"train": {"background": True}, "test": {"background": False}},
        {"train": 19_280, "test": 13_180},
        1623,
        "https://github.com/brendenlake/omniglot",
        "Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, Science 2015",
        (
            *_published("https://github.com/brendenlake/omniglot", "omniglot-py/images_background.zip", 9_464_212),
            *_published("https://github.com/brendenlake/omniglot", "omniglot-py/images_evaluation.zip", 6_462_886),
        ),
        "MIT",
        few_shot=True,
    ),
    "OxfordIIITPet": Known(
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
        {"train": 3680, "test": 3669},
        37,
        f"{_VGG}/pets/",
        "Parkhi et al., Cats and dogs, CVPR 2012",
        _published(f"{_VGG}/pets/", "oxford-iiit-pet/images.tar.gz", 810_946_560, "oxford-iiit-pet/images"),
        "CC BY-SA 4.0 for the collection; the photographs belong to their owners",
        image_files=False,
    ),
    "PCAM": Known(
        _SPLITS_VAL,
        {"train": 262_144, "validation": 32_768, "test": 32_768},
        2,
        "https://github.com/basveeling/pcam",
        "Veeling et al., Rotation equivariant CNNs for digital pathology, MICCAI 2018",
        _published(
            *("https://github.com/basveeling/pcam", "pcam/camelyonpatch_level_2_….h5.gz", 8_030_000_000),
            unpacked="pcam",
        ),
        "CC0",
        image_files=False,
    ),
    "Places365": Known(
        {"train": {"split": "train-standard", "small": True}, "test": {"split": "val", "small": True}},
        {"train": 1_803_460, "test": 36_500},
        365,
        _PLACES,
        "Zhou et al., Places: a 10 million image database for scene recognition, TPAMI 2018",
        _published(_PLACES, "train_256_places365standard.tar", 26_000_000_000, "data_256_standard"),
        "see the page; the photographs belong to their owners",
    ),
    "QMNIST": Known(
        _TRAIN_TEST,
        {"train": 60_000, "test": 60_000},
        10,
        "https://github.com/facebookresearch/qmnist",
        "Yadav and Bottou, Cold case: the lost MNIST digits, NeurIPS 2019",
        _published("https://github.com/facebookresearch/qmnist", "QMNIST/raw/….gz", unpacked="QMNIST/raw"),
        image_files=False,
    ),
    "RenderedSST2": Known(
        _SPLITS_VAL,
        {"train": 6920, "validation": 872, "test": 1821},
        2,
        f"{_CLIP}/rendered-sst2.md",
        "Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
        _published(f"{_CLIP}/rendered-sst2.md", "rendered-sst2.tgz", unpacked="rendered-sst2"),
    ),
    "SEMEION": Known(
        _WITHOUT_PARTS,
        {"": 1593},
        10,
        "https://archive.ics.uci.edu/dataset/178/semeion+handwritten+digit",
        "Semeion Research Center of Sciences of Communication, Rome, 1998",
        _published("https://archive.ics.uci.edu/dataset/178/semeion+handwritten+digit", "semeion.data", 2_900_000),
        "CC BY 4.0",
        image_files=False,
    ),
    "StanfordCars": Known(
        _SPLITS,
        {"train": 8144, "test": 8041},
        196,
        _CARS,
        "Krause et al., 3D object representations for fine-grained categorization, 3DRR 2013",
        (
            File("stanford_cars/cars_train.tgz", unpacked="stanford_cars/cars_train"),
            File("stanford_cars/cars_test.tgz", unpacked="stanford_cars/cars_test"),
            File("stanford_cars/car_devkit.tgz", unpacked="stanford_cars/devkit"),
            File("stanford_cars/cars_test_annos_withlabels.mat"),
        ),
    ),
    "STL10": Known(
        _SPLITS,
        {"train": 5000, "test": 8000},
        10,
        "https://cs.stanford.edu/~acoates/stl10/",
        "Coates, Lee and Ng, An analysis of single-layer networks in unsupervised feature learning, AISTATS 2011",
        _published("https://cs.stanford.edu/~acoates/stl10/", "stl10_binary.tar.gz", 2_640_397_119, "stl10_binary"),
        image_files=False,
    ),
    "SUN397": Known(
        _WITHOUT_PARTS,
        {"": 108_754},
        397,
        "https://vision.princeton.edu/projects/2010/SUN/",
        "Xiao et al., SUN database: large-scale scene recognition from abbey to zoo, CVPR 2010",
        _published("https://vision.princeton.edu/projects/2010/SUN/", "SUN397.tar.gz", 39_095_000_000, "SUN397"),
    ),
    "SVHN": Known(
        _SPLITS,
        {"train": 73_257, "test": 26_032},
        10,
        _SVHN,
        "Netzer et al., Reading digits in natural images with unsupervised feature learning, 2011",
        (
            *_published(_SVHN, "train_32x32.mat", 182_040_794),
            *_published(_SVHN, "test_32x32.mat", 64_275_384),
        ),
        "non-commercial use",
        image_files=False,
    ),
    "USPS": Known(
        _TRAIN_TEST,
        {"train": 7291, "test": 2007},
        10,
        "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
        "Hull, A database for handwritten text recognition research, TPAMI 1994",
        (
            *_published("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/", "usps.bz2", 6_579_383),
            *_published("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/", "usps.t.bz2", 1_831_726),
        ),
        image_files=False,
    ),
}
