"""Samples into image-text tars of `train.data.tars`, and the report of what became of them."""

import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from webdataset import ShardWriter

from sseg import images
from sseg.errors import SSegError
from train.files import replacing_files
from train.importing.found import Found
from train.importing.near import Near, dhash

ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}  # what is kept as it is
LOOKED_AT = 256 * 256  # pixels of an image that is only checked and hashed


@dataclass
class Report:
    """Counts of an import; `left_out`: reason -> names; `near`: (image, the earlier one that it is like)."""

    images: int = 0
    captions: int = 0
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    near: list[tuple[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict:
        """The report as JSON has it."""
        near = [list(pair) for pair in self.near]
        return {"images": self.images, "captions": self.captions, "left_out": dict(self.left_out), "near": near}


def write(samples: Iterable[Found], out: Path, per_tar: int = 1000) -> Report:
    """Write OUT/pairs-000000.tar and so on, all at the end; keys are numbers, the JSON has the name in the source.

    Raises:
        SSegError: OUT holds tars already, no sample can be taken, or it cannot be written.
    """
    if list(out.glob("*.tar")):
        raise SSegError(f"{out} already holds tars: name another folder, or empty it.")
    report, near = Report(), Near()
    with replacing_files(out) as folder:
        with ShardWriter(str(folder / "pairs-%06d.tar"), maxcount=per_tar, verbose=0, mtime=0) as tar:
            for found in samples:
                _write_one(tar, found, report, near)
        if not report.images:
            reasons = ", ".join(f"{len(names)} {reason}" for reason, names in report.left_out.items()) or "no image"
            raise SSegError(f"No image with a caption was found ({reasons}): docs/data.md shows the forms.")
    return report


def _write_one(tar: ShardWriter, found: Found, report: Report, near: Near) -> None:
    if found.problem or not found.read:
        report.left_out[found.problem or "no image"].append(found.name)
        return
    try:
        data = found.read()
        pixels = images.read(data, max_pixels=LOOKED_AT)
        ending, data = _as_kept(data)
    except (SSegError, OSError):
        report.left_out["an image that cannot be read"].append(found.name)
        return
    if twin := near.add(dhash(pixels), found.name):
        report.near.append((found.name, twin))
    about = {"source": found.name, "captions": found.captions}
    tar.write({"__key__": f"{report.images:08d}", ending: data, "json": about, "txt": "\n".join(found.captions)})
    report.images += 1
    report.captions += len(found.captions)


def _as_kept(data: bytes) -> tuple[str, bytes]:
    """Ending and bytes of an image in a tar: as it is, or as PNG where training does not read its format."""
    with Image.open(io.BytesIO(data)) as image:
        kept = ENDINGS.get(image.format or "")
    if kept:
        return kept, data
    buffer = io.BytesIO()
    Image.fromarray(images.read(data)).save(buffer, "PNG")
    return "png", buffer.getvalue()
