"""The pictures inside the figure of the method: what `mini` makes of one rendered scene.

    python -m benchmarks.report.thumbnails

Writes image.jpg, clusters.jpg, masks.jpg and answer.jpg to docs/images/method. Run it again when the weights changed;
`python -m benchmarks.report` then puts them into the figure.
"""

from pathlib import Path

import numpy as np
from PIL import Image

import sseg
from sseg import images

ROOT = Path(__file__).resolve().parents[2]
SCENE, PHRASES = ROOT / "assets/examples/scene-1.webp", "frog, pig, water, tiled floor"
SIDE = 240


def main() -> None:
    folder = ROOT / "docs/images/method"
    folder.mkdir(parents=True, exist_ok=True)
    segmenter, image = sseg.load("mini", device="cpu"), images.read(SCENE)
    encoded = segmenter.encode(image)
    clusters = sseg.PseudoMasker("mini", device="cpu")(SCENE, k=8)
    ids, _ = segmenter.segment_map(encoded)
    pictures = {
        "image": image,
        "clusters": clusters.overlay(image, opacity=0.75),
        "masks": images.overlay(image, ids, opacity=0.75),
        "answer": segmenter.ask(encoded, PHRASES, background=0).overlay(image, opacity=0.7),
    }
    for name, picture in pictures.items():
        small = Image.fromarray(np.asarray(picture)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(folder / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
