"""Which form a source has, and the samples in it."""

from collections.abc import Iterator
from pathlib import Path

from sseg.errors import SSegError
from sseg.paths import visible
from train.importing import coco, sidecars, tables, tars
from train.importing.found import IMAGE_ENDINGS, Found, Images


def read_source(source: Path, images: Path | None = None, image: str | None = None, caption: str | None = None,
                say=print) -> Iterator[Found]:  # fmt: skip
    """Samples of a tar, a table, COCO's JSON, or a folder with any of them, or with images beside their captions.

    Args:
        images: the folder of a table's images; by default the one that the table, or the folder, lies in.
        image, caption: a table's columns.
    Raises:
        SSegError: nothing there, or no form that is known.
    """
    if not source.exists():
        raise SSegError(f"There is no {source}: give a folder, a table, COCO's captions or a tar.")
    files = [source] if source.is_file() else [path for path in visible(source, "**/*") if path.is_file()]
    if packed := [path for path in files if path.name.lower().endswith(tars.ENDINGS)]:
        say(f"{len(packed)} tars")
        for path in packed:
            yield from tars.read_tar(path)
    elif listed := _lists(source, files):
        folder = images or (source if source.is_dir() else source.parent)
        below = [path for path in visible(folder, "**/*") if path.suffix.lower() in IMAGE_ENDINGS]
        known = Images(folder, below)
        for path in listed:
            say(f"captions of {path.name}")
            if path.suffix.lower() == ".json":
                yield from coco.read_coco(path, known)
            else:
                yield from tables.read_table(path, known, image, caption, say)
    elif source.is_dir():
        say("images beside their captions")
        yield from sidecars.folder(source)
    else:
        raise SSegError(f"{source} is of no form that is known: give a folder, a table, COCO's captions or a tar.")


def _lists(source: Path, files: list[Path]) -> list[Path]:
    """Tables and lists among files: those with an image of the same name are captions of that image."""
    if source.is_file():
        return [source] if source.suffix.lower() in (*tables.ENDINGS, ".json") else []
    images = {path.with_suffix("") for path in files if path.suffix.lower() in IMAGE_ENDINGS}
    alone = [path for path in files if path.with_suffix("") not in images]
    found = [path for path in alone if path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet")]
    found += [path for path in alone if path.name.lower() == "captions.txt" or path.name.lower().endswith("token.txt")]
    return found or [path for path in alone if path.suffix.lower() == ".json" and path.name.startswith("captions")]
