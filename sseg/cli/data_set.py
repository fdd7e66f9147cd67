"""A folder of labelled images that grows image by image: png, coco or yolo, and a journal of what is done.

Every file appears whole or not at all. The journal (`sseg.jsonl`) says on its first line what the images were asked,
then a line an image; a line is written after all files of its image, so that a run that ended anywhere goes on there.
"""

import json
import os
import shutil
from pathlib import Path

from PIL import Image

from sseg import export, images
from sseg.cli.output import make_folder, unused, write_sheets
from sseg.errors import SSegError, shown
from sseg.images import bands, decoding
from sseg.phrases import key

JOURNAL = "sseg.jsonl"
_OURS = ("images", "masks", "labels", "annotations.json", "classes.txt", "data.yaml", "contact-sheets")
_READ_BY_ALL = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",)}
_NOTHING = ("background", "other", "nothing")  # what id 0 is called, unless a phrase is called so
_ASKED = {"format": "in another format", "phrases": "for other phrases", "weights": "with other weights",
          "background": "with another threshold", "sliding": "with or without --sliding",
          "instances": "with other --instances"}  # fmt: skip


class DataSet:
    """Where answers to the same phrases about many images are kept.

    Args:
        folder: new, empty, or one of these.
        asked: {"format", "phrases", "weights", "background", "sliding", "instances"}, all that labels depend on.

    Raises:
        SSegError: a folder that holds something else, or what was asked differently.
    """

    def __init__(self, folder: Path, asked: dict):
        self.folder, self.asked, self.entries = folder, asked, {}  # source -> its journal line
        make_folder(folder)
        if (folder / JOURNAL).is_file():
            self._go_on()
        else:
            self._begin()
        self.names = {entry["name"] for entry in self.entries.values()}

    def __contains__(self, source) -> bool:
        return os.path.abspath(source) in self.entries

    def add(self, source: str, full_size, answer) -> dict:
        """Keep an image with its answer; gives its journal line."""
        name, kind = unused(Path(source).stem, self.names), self.asked["format"]
        entry = {"source": os.path.abspath(source), "name": name}
        try:
            if kind == "png":  # labels before their image: no program finds an image whose mask is missing
                put(self.folder / "masks" / f"{name}.png", answer.id_png(full_size))
            elif kind == "yolo":
                put(self.folder / "labels" / f"{name}.txt", answer.yolo().encode())
            entry["image"] = self._copy(source, name)
            if kind == "coco":
                parts = self.asked["instances"] == "parts"
                entry["coco"] = export.coco_entry(entry["image"], answer.labels, answer.confidence, full_size, parts)
            entry["areas"] = [round(area, 6) for area in answer.areas]
            with open(self.folder / JOURNAL, "a", encoding="utf-8") as journal:
                journal.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise self._cannot(error) from error
        self.entries[entry["source"]] = entry
        return entry

    def finish(self) -> None:
        """Write what is about all images: annotations.json."""
        if self.asked["format"] != "coco":
            return
        about = f"Labelled by S-Seg ({self.asked['weights']}), scores from {self.asked['background']:g}"
        found = export.coco_json(self.asked["phrases"], [entry["coco"] for entry in self.entries.values()], about)
        try:
            put(self.folder / "annotations.json", json.dumps(found).encode())
        except OSError as error:
            raise self._cannot(error) from error

    def write_sheet(self, rows, heads: list[str]) -> None:
        """One more contact sheet."""
        place = self.folder / "contact-sheets"
        make_folder(place)
        number = 1
        while (place / f"{number:04}.png").exists():
            number += 1
        write_sheets(place, rows, heads, lambda page: f"{number + page - 1:04}.png")

    # ---- how it begins -------------------------------------------------------------------------------------------
    def _begin(self) -> None:
        there = [name for name in _OURS if (self.folder / name).exists()]
        if there:
            raise SSegError(f'The folder "{shown(self.folder)}" holds "{there[0]}" that S-Seg did not write: '
                            "choose a new folder for --out.")  # fmt: skip
        kind, phrases = self.asked["format"], self.asked["phrases"]
        try:
            for name in ("images", *{"png": ["masks"], "yolo": ["labels"], "coco": []}[kind]):
                (self.folder / name).mkdir()
            if kind == "png":
                taken = {key(phrase) for phrase in phrases}
                nothing = next(name for name in (*_NOTHING, "what was not asked for") if name not in taken)
                put(self.folder / "classes.txt", "".join(f"{name}\n" for name in (nothing, *phrases)).encode())
            elif kind == "yolo":
                put(self.folder / "data.yaml", export.yolo_data(phrases).encode())
            put(self.folder / JOURNAL, (json.dumps(self.asked) + "\n").encode())
        except OSError as error:
            raise self._cannot(error) from error

    def _go_on(self) -> None:
        path = self.folder / JOURNAL
        try:
            text = path.read_text(encoding="utf-8")
            lines = text.splitlines(keepends=True)
            before = json.loads(lines[0])
            differing = [why for name, why in _ASKED.items() if before[name] != self.asked[name]]
            if differing:
                raise SSegError(f'The images in "{shown(self.folder)}" were labelled {differing[0]}: choose another '
                                "folder for --out, so that labels are not mixed.")  # fmt: skip
            if not lines[-1].endswith("\n"):  # the run ended while it was written
                lines.pop()
                put(path, "".join(lines).encode())
            self.entries = {entry["source"]: entry for entry in map(json.loads, lines[1:])}
        except OSError as error:
            raise SSegError(f'"{shown(path)}" cannot be read ({error.strerror}): choose another --out.') from error
        except (ValueError, LookupError, TypeError) as error:
            raise SSegError(f'"{shown(path)}" is damaged: choose another folder for --out.') from error

    # ---- images --------------------------------------------------------------------------------------------------
    def _copy(self, source: str, name: str) -> str:
        """The image as every program reads it: the file itself, or upright pixels in a file of their own."""
        with Image.open(source, formats=decoding.FORMATS) as image:
            suffix, upright = Path(source).suffix, bands.orientation(image) == 1
            as_it_is = suffix.lower() in _READ_BY_ALL.get(image.format, ()) and upright
            jpeg = image.format in ("JPEG", "MPO")
        if as_it_is:
            target = self.folder / "images" / f"{name}{suffix.lower()}"
            part = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, part)
            part.replace(target)
            return target.name
        target = self.folder / "images" / (f"{name}.jpg" if jpeg else f"{name}.png")
        part = target.with_name(f".{target.name}.part")
        pixels = Image.fromarray(images.read(source, max_pixels=images.MOST_PIXELS))
        pixels.save(part, **({"format": "JPEG", "quality": 95} if jpeg else {"format": "PNG", "compress_level": 3}))
        part.replace(target)
        return target.name

    def _cannot(self, error: OSError) -> SSegError:
        return SSegError(f'The labels cannot be written to "{shown(self.folder)}" ({error.strerror or error}): '
                         "the same command goes on once there is room.")  # fmt: skip


def put(path: Path, data: bytes) -> None:
    """Write a file whole: a run that ends half-way leaves the one that was there, or none."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
