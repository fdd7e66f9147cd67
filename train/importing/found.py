"""What a form finds: a sample with its captions, or a name with the reason why it is left out."""

import codecs
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

CAPTION_NAMES = ("captions", "caption", "texts", "text", "sentences", "sentence", "raw", "description", "title", "alt")
IMAGE_NAMES = ("file_name", "filename", "image", "image_path", "image_name", "filepath", "path", "file", "img", "jpg")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")


@dataclass
class Found:
    """`name` as in the source; `read` gives the image's bytes; `problem`: why the sample cannot be taken."""

    name: str
    read: Callable[[], bytes] | None = None
    captions: list[str] = field(default_factory=list)
    problem: str | None = None


def decode(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with its byte-order mark; UnicodeDecodeError for anything else."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    text = data.decode("utf-8-sig")
    if "\0" in text:  # UTF-16 without its mark, or no text
        raise UnicodeDecodeError("utf-8", data, data.index(0), data.index(0) + 1, "a zero byte")
    return text


def captions_of(value) -> list[str]:
    """A text is one caption, a list of texts is several; of an object, the entry that is named like captions.

    Numbers and whatever else is no text give none.
    """
    if isinstance(value, dict):
        return next((found for name in CAPTION_NAMES if (found := captions_of(value.get(name)))), [])
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if not all(isinstance(text, str) for text in texts):
        return [one for item in texts if isinstance(item, str | dict) for one in captions_of(item)]
    return list(dict.fromkeys(clean for text in texts if (clean := " ".join(text.split()))))


def sidecar_captions(json_data: bytes | None, text_data: bytes | None) -> list[str]:
    """Captions of KEY.json if it holds some, else the lines of KEY.txt; ValueError where they cannot be read."""
    found, damaged = [], False
    if json_data is not None:
        try:
            found = captions_of(json.loads(decode(json_data)))
        except (ValueError, RecursionError):
            damaged = True
    if not found and text_data is not None:
        found = captions_of(decode(text_data).splitlines())
    if damaged and not found:
        raise ValueError("the captions are no JSON")
    return found


class Images:
    """Image files below a folder, found by the names in tables: a path, or a bare name where it is the only one."""

    def __init__(self, folder: Path, files: Iterable[Path]):
        self.folder, self.by_name = folder, {}
        for file in files:
            self.by_name.setdefault(file.name, []).append(file)

    def found(self, name: str, captions: list[str]) -> Found:
        """The sample of an image name; without the image, its reason."""
        path = self.folder / name
        same = self.by_name.get(Path(name).name, [])
        if not path.is_file() or not path.resolve().is_relative_to(self.folder.resolve()):
            if len(same) > 1:
                return Found(name, problem="several images have this name")
            if not same:
                return Found(name, problem="no such image")
            path = same[0]
        return Found(name, path.read_bytes, captions, None if captions else "no caption")
