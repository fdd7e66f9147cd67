"""All of one answer in a ZIP file."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sseg import images
from sseg.phrases import clean

if TYPE_CHECKING:
    from sseg.segmentation import Segmentation

_DATE = (1980, 1, 1, 0, 0, 0)  # the same answer is the same file


def answer_zip(
    answer: Segmentation,
    rgb: np.ndarray,
    name: str = "image",
    size: tuple[int, int] | None = None,
    opacity: float = 0.55,
) -> bytes:
    """Everything that can be taken along of an answer, as a ZIP.

    Args:
        answer: what was found.
        rgb: uint8 (H, W, 3), the image that was segmented.
        name: of the image, without its ending; files are called by it.
        size: height and width of the image itself, where it was worked on smaller: ids and COCO get it.
        opacity: of the overlays' colours, 0..1.

    Returns:
        A file that holds NAME.ids.png, NAME.overlay.png, NAME.legend.png (the overlay with names and a legend),
        NAME.json, NAME.coco.json, phrases.txt (a line an id, from 1) and cut-outs/ID-PHRASE.png of what was found.

    Raises:
        SSegError: an image of another size than the one that was segmented, or an opacity outside 0..1.
    """
    stem = file_stem(name) or "image"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(path: str, data: bytes | str) -> None:
            kind = zipfile.ZIP_STORED if path.endswith(".png") else zipfile.ZIP_DEFLATED  # PNGs are deflated already
            archive.writestr(zipfile.ZipInfo(path, _DATE), data, kind)

        add(f"{stem}.ids.png", answer.id_png(size))
        add(f"{stem}.overlay.png", images.png(Image.fromarray(answer.overlay(rgb, opacity))))
        add(f"{stem}.legend.png", images.png(Image.fromarray(answer.overlay_with_legend(rgb, opacity))))
        add(f"{stem}.json", json.dumps(answer.to_json(), indent=1))
        add(f"{stem}.coco.json", json.dumps(answer.coco(f"{stem}.jpg", size)))
        add("phrases.txt", "".join(f"{i}\t{phrase}\n" for i, phrase in enumerate(answer.phrases, 1)))
        for i, (phrase, area) in enumerate(zip(answer.phrases, answer.areas, strict=True)):
            if area:
                add(f"cut-outs/{i + 1}-{file_stem(phrase) or 'phrase'}.png", answer.cut_out(rgb, i))
    return out.getvalue()


def file_stem(text: str, longest: int = 60) -> str:
    """A text as a file's name that every system takes: letters, digits, `-`, `_` and `.` between them; may be empty."""
    return re.sub(r"[^\w.-]+", "-", clean(text)).strip("-._")[:longest].rstrip("-._")
