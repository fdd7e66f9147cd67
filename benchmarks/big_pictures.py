"""How much memory the worst pictures take to read: python -m benchmarks.big_pictures [--megapixels 177] [--only KIND]

Writes a file of each kind, black and as big as Pillow opens, and reads each in a process of its own; where that is
refused, also the biggest that is not. Prints a table of the extra peak of resident memory, then one JSON object.
"""

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]

_CHILD = """
import json, re, sys, time
from sseg import SSegError, images
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
images.read(sys.argv[1]), images.read(sys.argv[1], max_pixels=1)  # what the first reading loads does not count
for file in sys.argv[2:]:
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before, start = peak(), time.perf_counter()
    try:
        said = "{} x {}".format(*images.read(file).shape[1::-1])
    except SSegError as error:
        said = str(error)
    print(json.dumps({"mb": round(peak() - before), "seconds": round(time.perf_counter() - start, 2), "said": said}))
"""


def png(width: int, height: int, bits: int = 8, color: int = 0, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A black PNG, made a row at a time. color: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    squash, parts = zlib.compressobj(1), []
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    for left, top, right, down in starts if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        row = bytes(1 + (columns * channels * bits + 7) // 8)
        parts += [squash.compress(row) for _ in range(rows)]
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(range(6))) + chunk(b"tRNS", b"\x80") if color == 3 else b""
    data = b"".join([*parts, squash.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + palette + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _turned() -> bytes:
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    return chunk(b"eXIf", exif.tobytes()[6:])


def _saved(mode, size, file, **options):
    Image.new(mode, size).save(file, **options)


def kinds(pixels: float) -> dict:
    """Name -> function that writes a file of that kind with so many pixels, or as many as the format allows."""
    wide, side = (int(pixels / 13000), 13000), int(min(pixels, 16383**2) ** 0.5)
    made = {
        f"PNG {name}": lambda file, options=options: file.write_bytes(png(*wide, **options))
        for name, options in {
            "grey 16 bits": {"bits": 16}, "RGB": {"color": 2}, "RGB 16 bits": {"color": 2, "bits": 16},
            "RGBA": {"color": 6}, "grey with alpha": {"color": 4}, "palette with alpha": {"color": 3},
            "RGB interlaced": {"color": 2, "interlaced": True}, "grey": {}, "grey, to be turned": {"extra": _turned()},
        }.items()
    }  # fmt: skip
    for mode in ("I", "F", "I;16", "LAB", "CMYK", "1"):
        made[f"TIFF {mode}"] = lambda file, mode=mode: _saved(mode, wide, file, format="TIFF",
                                                              compression="tiff_adobe_deflate")  # fmt: skip
    made["BMP RGB"] = lambda file: _saved("RGB", wide, file, format="BMP")
    made["GIF"] = lambda file: _saved("P", wide, file, format="GIF")
    made["WebP"] = lambda file: _saved("RGB", (side, side), file, format="WEBP", quality=0, method=0)
    made["AVIF"] = lambda file: _saved("RGB", (side, side), file, format="AVIF", speed=10, quality=10)
    made["JPEG"] = lambda file: _saved("RGB", wide, file, format="JPEG")
    made["JPEG CMYK"] = lambda file: _saved("CMYK", wide, file, format="JPEG")
    made["JPEG progressive"] = lambda file: _saved("RGB", wide, file, format="JPEG", progressive=True, subsampling=0)
    return made


def measure(*files: Path) -> list[dict]:
    """[{"mb": extra peak, "seconds", "said": size or sentence}] of reading files one after the other in a process."""
    with tempfile.NamedTemporaryFile(suffix=".png") as small:
        small.write(png(8, 8))
        small.flush()
        command = [sys.executable, "-c", _CHILD, small.name, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


def measured(write) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "big")
        write(file)
        return {"file_mb": round(file.stat().st_size / 1e6, 1), **measure(file)[0]}


def _line(name, megapixels, row) -> str:
    return f"{name:<24}{megapixels:5g} MP{row['file_mb']:7.1f} MB{row['mb']:7} MB{row['seconds']:7.2f} s  {row['said']}"


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=177.0, help="of each picture, if its format has so many")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    options = parser.parse_args(arguments)
    rows = []
    for name, write in kinds(options.megapixels * 1e6).items():
        if options.only not in name:
            continue
        row = {"picture": name, **measured(write)}
        most = re.search(r"at most (\d+)\)", row["said"])
        if most:  # refused: as big as it may be, too
            row["accepted"] = {"megapixels": int(most[1]), **measured(kinds(int(most[1]) * 1e6 - 2e4)[name])}
        rows.append(row)
        print(_line(name, options.megapixels, row), flush=True)
        if most:
            print(_line("", int(most[1]), row["accepted"]), flush=True)
    print(json.dumps({"megapixels": options.megapixels, "pictures": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
