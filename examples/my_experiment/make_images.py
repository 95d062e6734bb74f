"""Writes scikit-learn's handwritten digits as a folder of images, to stand for a folder of your own."""

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent / "images"
PER_CLASS = 20

digits = load_digits()
written = dict.fromkeys(map(int, digits.target_names), 0)
for picture, label in zip(digits.images, map(int, digits.target), strict=True):
    if written[label] < PER_CLASS:
        path = FOLDER / f"digit-{label}" / f"{written[label]:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 15.9).astype("uint8")).save(path)
        written[label] += 1
print(f"{FOLDER}: {sum(written.values())} images in {len(written)} classes")
