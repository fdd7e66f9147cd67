"""Pictures: files of every format, whole and damaged, arrays of every type, and what is none."""

import io
import random
import struct
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = {  # format -> modes that Pillow writes in it
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "GIF": ["L", "P", "RGB"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"],
    "PPM": ["1", "L", "RGB"],
    "AVIF": ["RGB", "RGBA"],
    "TGA": ["L", "RGB", "RGBA"],
    "ICO": ["RGBA"],
    "PDF": ["RGB"],
}
SIDES = [1, 1, 2, 3, 7, 16, 31, 64, 100, 255, 640]
TIFF_WAYS = [None, "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"]
NUMBERS = [0, 1, -1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]
NAMES = [
    "a.png",
    "x" * 300,
    "a/" * 3000,
    "~nobody",
    "~",
    "",
    ".",
    "/",
    "\0",
    "a\nb.png",
    "a\x1b[31m.png",
    "a\udcff.png",
    "http://127.0.0.1/a.png",
    "file:///etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/mem",
    "-",
    "\u202egnp.a",
]


def pixels(rng: random.Random, mode: str, size) -> Image.Image:
    """A picture of noise, of one value, or of ramps."""
    noise = np.random.default_rng(rng.getrandbits(32))
    width, height = size
    if mode in ("I;16", "I", "F"):
        values = noise.integers(0, rng.choice([2, 256, 4096, 65536]), (height, width))
        if mode == "F":
            values = values.astype(np.float32)
            values.ravel()[: rng.choice([0, 0, 1, 2])] = rng.choice([np.nan, np.inf, -np.inf, -3.4e38, 3.4e38])
        return Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    rgb = Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if rng.random() < 0.3:
        rgb = Image.new("RGB", size, rng.choice(["black", "white", "gray", "red"]))
    if mode == "LAB":
        return Image.frombytes("LAB", size, rgb.tobytes())
    return rgb.convert(mode)


def file_of(rng: random.Random) -> bytes:
    """A whole picture file; b"" where Pillow does not write such a thing."""
    kind = rng.choice(list(FORMATS))
    image = pixels(rng, rng.choice(FORMATS[kind]), (rng.choice(SIDES), rng.choice(SIDES)))
    how = {"compression": rng.choice(TIFF_WAYS)} if kind == "TIFF" else {}
    if kind == "TIFF" and image.mode == "1":
        how = {"compression": rng.choice([None, "group3", "group4"])}  # of other modes they crash Pillow's writer
    if kind == "TIFF" and image.mode in ("L", "RGB"):
        how = {"compression": rng.choice([*TIFF_WAYS, "jpeg"])}
    if kind == "JPEG":
        how = {"quality": rng.choice([1, 50, 95]), "progressive": rng.random() < 0.3}
    if rng.random() < 0.3 and kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        exif = Image.Exif()
        exif[0x0112] = rng.choice([0, 1, 3, 5, 6, 8, 9, 65535])
        how["exif"] = exif.tobytes()[: rng.choice([None, None, 20])]
    if rng.random() < 0.1:
        how["icc_profile"] = rng.randbytes(rng.choice([1, 128, 1000]))
    if rng.random() < 0.1 and kind in ("GIF", "WEBP", "TIFF", "PNG"):
        how |= {"save_all": True, "append_images": [pixels(rng, image.mode, image.size)]}
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **how)
    except Exception:  # a mode, size or way that this format does not have
        return b""
    return buffer.getvalue()


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A file after some accidents: cut off, bits flipped, bytes put in or left out, numbers in its head changed."""
    data = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        if not data:
            break
        at = rng.randrange(len(data) if rng.random() < 0.6 else min(len(data), 64))
        what = rng.randrange(6)
        if what == 0:
            del data[at:]
        elif what == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 2:
            data[at:at] = rng.randbytes(rng.choice([1, 4, 100]))
        elif what == 3:
            del data[at : at + rng.choice([1, 4, 100])]
        else:
            packed = struct.pack(rng.choice([">I", "<I"]), rng.choice(NUMBERS) % 2**32)
            data[at : at + 4] = packed[: rng.choice([1, 2, 4])]
    return bytes(data)


def array_of(rng: random.Random):
    """An array that may be a picture."""
    kind = rng.choice(
        [np.uint8, np.uint16, bool, np.float32, np.float64, np.float16, np.int32, np.int64, np.complex64, object, "U3"]
    )
    shape = [rng.choice([0, 1, 2, 5, 33]) for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 3, 4]))]
    if len(shape) == 3:
        shape[2] = rng.choice([0, 1, 2, 3, 3, 3, 4, 5])
    if rng.random() < 0.1:  # a view of more than any machine has
        sides = (rng.choice([10**5, 10**6]), 10**5, 3)
        return np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), sides, (0, 0, 1))
    values = np.array(np.random.default_rng(rng.getrandbits(32)).random(shape))
    array = np.asarray(values * rng.choice([0, 1, 1, 255, 70000, -1])).astype(kind)
    if array.dtype.kind == "f" and array.size and rng.random() < 0.3:
        array.ravel()[0] = rng.choice([np.nan, np.inf, -np.inf])
    return array[::-1] if array.ndim and rng.random() < 0.2 else array


def odd_of(rng: random.Random):
    """What is no picture at all, and pictures without pixels."""
    return rng.choice(
        [
            None,
            5,
            2.5,
            True,
            [],
            {},
            [[1, 2]],
            b"",
            object(),
            Image.new("RGB", (0, 5)),
            Path("/nowhere"),
            Image.new("L", (5, 0)),
            Image.new("F", (0, 0)),
            rng.choice(NAMES),
            *NAMES,
        ]
    )


def grow(rng: random.Random, folder: Path):
    """A source for `images.read`, and what it is in a few words."""
    what = rng.random()
    if what < 0.15:
        return array_of(rng), "array"
    if what < 0.3:
        return odd_of(rng), "odd"
    data = damaged(rng, file_of(rng))
    if what < 0.6:
        return data, "bytes"
    path = folder / rng.choice(["a.png", "a.jpg", "a.tif", "a b.webp", "ä\n.png", "a"])
    path.write_bytes(data)
    return (str(path) if what < 0.8 else path), "file"
