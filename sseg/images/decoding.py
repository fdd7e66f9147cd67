"""Opening picture files: which formats, and how big a picture may be before it takes too much memory to decode.

A file of a megabyte can hold a picture that takes gigabytes. What decoding takes is known from the header, so nothing
is decoded that takes more than `DECODED` bytes. `images.read` then needs little besides; `benchmarks.big_pictures`
measures all of it.
"""

import ctypes
import io
import os
import warnings
from pathlib import Path

from PIL import Image, _imaging

from sseg.errors import SSegError, SSegValueError, shown

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # none that starts programs, as EPS does
DECODED = 241_000_000  # bytes: an RGB picture of 60 megapixels, as cameras make them
MOST_SIDE = 100_000  # pixels: longer lines would not fit into the memory for a strip
MOST_SCANS = 100  # of a JPEG, each a pass over all of its memory; programs write up to ten or so
_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # bytes in Pillow's memory; of other modes 4
_WHOLE = {"WEBP": 20, "AVIF": 14}  # bytes a pixel of decoders that hold copies of their own, measured
_SLOW = ("ppm", "ppm_plain")  # decoders that take a loop of Python for each pixel

# What Pillow warns of while it reads (damaged EXIF, bombs) is said in a sentence, or is no matter. A filter for the
# whole process, since `warnings.catch_warnings` is not safe in threads, which decode.
warnings.filterwarnings("ignore", module=r"PIL\.(Image|TiffTags|\w+ImagePlugin)$")


def _hush_libtiff() -> None:
    """libtiff, as Pillow has it, prints nothing on stderr: what is amiss comes back as an error besides."""
    library = ctypes.CDLL(_imaging.__file__)  # finds what Pillow's own module is linked with
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if hasattr(library, name):  # not where it is linked in statically
            function = getattr(library, name)
            function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            function(None)


_hush_libtiff()


def open_image(source, smallest: float) -> tuple[Image.Image, tuple[int, int]]:
    """A picture file, opened but not decoded yet, and its width and height as stored. A JPEG is set to decode at the
    least fraction (a half, a quarter, an eighth) that still has `smallest` pixels.

    Args:
        source: path or bytes.

    Raises:
        SSegError: no such file, not a picture of `FORMATS`, or one that takes more than `DECODED` bytes.
    """
    if source is None:
        raise SSegValueError("There is no picture: choose one first.")
    if not isinstance(source, (str, Path, bytes)):
        raise SSegValueError(f"A picture is a path, bytes, a PIL image or an array, not {type(source).__name__}.")
    if not isinstance(source, bytes) and not os.path.isfile(source):  # which, unlike pathlib, takes any name
        raise SSegError(f'There is no picture file "{shown(source)}": check the path.')
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
        takes = _full_size(image)  # before the size is that of a fraction
        size, pixels = image.size, image.width * image.height
        if pixels > smallest:
            factor = (pixels / smallest) ** 0.5
            image.draft(None, (int(image.width / factor), int(image.height / factor)))
        takes += image.width * image.height * _WHOLE.get(image.format or "", _PIXEL.get(image.mode, 4))
        slow = any(tile.codec_name in _SLOW for tile in image.tile)
    except Image.DecompressionBombError as error:
        raise SSegError(f"{name_of(source)} is too big to open (over 179 megapixels): scale it down first.") from error
    except Exception as error:  # Pillow's parsers raise whatever a damaged header leads to
        raise SSegError(
            f"{name_of(source)} is not a picture that can be read: use PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF."
        ) from error
    problem = _problem(pixels, takes, max(size)) or ("is written pixel by pixel: save it as PNG" if slow else "")
    if problem:
        image.close()
        raise SSegError(f"{name_of(source)} {problem}.")
    return image, size


def name_of(source) -> str:
    """What a sentence calls a source: its file name without the folder."""
    return "The picture" if isinstance(source, bytes) else f'"{Path(source).name}"'


def _problem(pixels: int, takes: float, side: int) -> str:
    if takes > DECODED:
        most, has = int(pixels * DECODED / takes / 1e6), round(pixels / 1e6)
        return f"takes too much memory ({has} megapixels, of this kind at most {most}): scale it down first"
    if side > MOST_SIDE:
        return f"is {side:,} pixels long (at most {MOST_SIDE:,}): cut it into parts first"
    return ""


def _full_size(image) -> float:
    """Bytes that decoding takes besides the pixels, whatever fraction is decoded."""
    takes = sum(len(value) for value in image.info.values() if isinstance(value, (str, bytes)))
    if image.format in ("JPEG", "MPO"):
        return takes + _coefficients(image)
    if image.format == "TIFF":
        return takes + _strip(image)
    if image.format == "BMP" and any(tile.codec_name != "raw" for tile in image.tile):
        return takes + image.width * image.height  # run lengths, in a copy
    return takes


def _coefficients(image) -> float:
    """Bytes of a JPEG in several scans, whose coefficients are all held until the last one: two for each."""
    channels = [(across, down) for _, across, down, _ in image.layer]
    if not image.info.get("progressive") and _first_scan(image.fp) == len(channels):
        return 0
    if _scans(image.fp) > MOST_SCANS:
        raise ValueError("a JPEG of more scans than any program writes")
    most = max(across for across, _ in channels) * max(down for _, down in channels)
    return 2 * image.width * image.height * sum(across * down for across, down in channels) / most


def _first_scan(file) -> int:
    """How many channels the first scan of a JPEG has."""
    there = file.tell()
    file.seek(2)
    while True:
        marker, length = file.read(2), file.read(2)
        if len(length) < 2 or marker[:1] != b"\xff":
            channels = 0  # not as it should be: taken for one of several scans
            break
        if marker == b"\xff\xda":
            channels = ord(file.read(1))
            break
        file.seek(int.from_bytes(length, "big") - 2, 1)
    file.seek(there)
    return channels


def _scans(file) -> int:
    there = file.tell()
    file.seek(0)
    count, last = 0, b""
    while block := file.read(1 << 20):
        count += (last + block).count(b"\xff\xda")
        last = block[-1:]
    file.seek(there)
    return count


def _strip(image) -> float:
    """Bytes that libtiff takes for one strip or tile of a TIFF, with what its own decoders hold."""
    if all(tile.codec_name == "raw" for tile in image.tile):
        return 0
    rows = min(_tag(image, 278, image.height), image.height)
    width, height = _tag(image, 322, image.width), _tag(image, 323, rows)
    bits = image.tag_v2.get(258, (8,))
    sample_bytes = max(1, max(bits if isinstance(bits, tuple) else (bits,)) / 8) * _tag(image, 277, 1)
    compressed_again = 3 if image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp", "lerc") else 1
    return width * height * sample_bytes * compressed_again


def _tag(image, number: int, default: int) -> int:
    value = image.tag_v2.get(number, default)
    return int(value[0] if isinstance(value, tuple) else value)
