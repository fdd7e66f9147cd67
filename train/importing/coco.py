"""COCO's captions_*.json, read by pycocotools."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from pycocotools.coco import COCO

from sseg.errors import SSegError
from train.importing.found import Found, Images, captions_of


def read_coco(path: Path, images: Images) -> Iterator[Found]:
    """A sample for each entry of "images"; SSegError where the file is no such list."""
    try:
        with redirect_stdout(io.StringIO()):  # it talks
            listed = COCO(path)
        for number, entry in listed.imgs.items():
            captions = [text for one in listed.imgToAnns.get(number, []) for text in captions_of(one.get("caption"))]
            yield images.found(entry["file_name"], list(dict.fromkeys(captions)))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise SSegError(
            f"{path} is no captions file as COCO has them: give one with images and annotations."
        ) from error
