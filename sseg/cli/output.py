"""Files that commands read and write: images of a folder, results beside one another, contact sheets."""

import json
import sys
from pathlib import Path

from PIL import Image

from sseg.errors import SSegError
from sseg.paths import visible

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SSegError(f'The folder "{folder}" cannot be made ({error.strerror}): choose another one.') from error


class Batch:
    """Images one after the other: what is wrong with one is said on stderr, and the others are still worth having.

    `failed` counts those; the only image of a command raises its error instead.
    """

    def __init__(self, paths: list[str], progress=None):
        """progress: told of each image that is done or failed (`sseg.cli.progress`)."""
        self.paths, self.failed, self.progress = paths, 0, progress

    def each(self, work):
        """Path of each image and `work(path)`."""
        for path in self.paths:
            try:
                found = work(path)
            except SSegError as error:
                if len(self.paths) == 1:
                    raise
                if self.progress:
                    self.progress.pause()
                print(error, file=sys.stderr)
                self.failed += 1
            else:
                yield path, found
            if self.progress:
                self.progress.step()


def unused(stem: str, used: set[str]) -> str:
    """dog, dog-2, dog-3: pictures of the same name in other folders do not overwrite one another."""
    name, count = stem, 1
    while name in used:
        count += 1
        name = f"{stem}-{count}"
    used.add(name)
    return name


def write(folder: Path, name: str, rgb, result, report: dict) -> None:
    try:
        (folder / f"{name}.ids.png").write_bytes(result.id_png(report["full_size"]))
        Image.fromarray(result.overlay(rgb)).save(folder / f"{name}.overlay.png")
        (folder / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    except OSError as error:
        raise SSegError(f'The results cannot be written to "{folder}" ({error.strerror}).') from error


def sizes(report: dict) -> str:
    (height, width), (rows, columns) = report["full_size"], report["size"]
    return f"{width} x {height}" + ("" if (rows, columns) == (height, width) else f", worked on at {columns} x {rows}")


def images_of(paths: list[str]) -> list[str]:
    """The paths, with the picture files of each folder in its place, sorted."""
    found = []
    for path in paths:
        if Path(path).is_dir():
            inside = [str(file) for file in visible(Path(path)) if file.suffix.lower() in SUFFIXES]
            if not inside:
                raise SSegError(f'There is no picture in the folder "{path}": it needs {", ".join(SUFFIXES)} files.')
            found += inside
        else:
            found.append(path)
    return found


def check_truth(truth: Path | None, paths: list[str]) -> None:
    if truth and len(paths) > 1 and not truth.is_dir():
        raise SSegError("One mask cannot be the truth of several pictures: give a folder with NAME.png of each.")


def mask_of(path: str, truth: Path) -> Path:
    return truth / f"{Path(path).stem}.png" if truth.is_dir() else truth


def sheet_name(number: int) -> str:
    return "contact-sheet.png" if number == 1 else f"contact-sheet-{number}.png"


def write_sheets(folder: Path, rows, heads: list[str], name=sheet_name) -> None:
    from sseg.cli import sheets

    try:
        for number, page in enumerate(sheets.pages(rows, heads), 1):
            page.save(folder / name(number))
    except OSError as error:
        raise SSegError(f'The contact sheet cannot be written to "{folder}" ({error.strerror}).') from error
