"""Files of answers: written whole or not at all, since another visitor may be fetching the same file."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from gradio import processing_utils
from PIL import Image


def write(image: Image.Image, folder: str, kind: str) -> str:
    """Path of `image` as a file of that kind ("png", "webp") under the hash of its bytes in `folder`.

    Gradio's own `save_pil_to_cache` truncates a file that is there already: who fetches it then gets nothing.
    """
    data = processing_utils.encode_pil_to_bytes(image, kind)
    place = Path(folder).resolve() / processing_utils.hash_bytes(data) / f"image.{kind}"
    with suppress(FileNotFoundError):  # not there yet, or just cleared away
        if place.stat().st_size == len(data):
            os.utime(place)  # as new: what is old is cleared away
            return str(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(dir=folder)  # under a name that `room` clears away, should this stop here
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    try:
        os.replace(unfinished, place)
    except FileNotFoundError:  # `room` has just taken the empty folder away
        place.parent.mkdir(exist_ok=True)
        os.replace(unfinished, place)
    return str(place)
