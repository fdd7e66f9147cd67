"""Pictures in, pictures out: reading any picture safely; palette, id PNG, overlay, COCO run lengths."""

import io
import zlib

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from sseg.arguments import of_type, share, whole
from sseg.errors import SSegError, SSegValueError
from sseg.images import bands, decoding, levels

MOST_PIXELS = 178_956_970  # of an array: as many as Pillow opens of a file
MAX_PIXELS = 16_000_000  # the working size: bigger pictures are scaled down, labels included

# 20 colours by farthest-point search in CIELAB under normal, protan, deutan and tritan vision (Machado et al. 2009):
# at least 14 apart in each, the first eight 25; neighbours differ by 16 or more in lightness.
PALETTE = (
    (0, 105, 240), (255, 120, 0), (0, 255, 210), (135, 60, 105), (195, 180, 255),
    (165, 0, 15), (165, 240, 135), (105, 135, 90), (90, 0, 255), (75, 180, 180),
    (120, 60, 165), (255, 225, 0), (225, 30, 0), (165, 165, 90), (210, 225, 90),
    (165, 105, 180), (240, 165, 150), (135, 120, 225), (255, 210, 255), (255, 75, 150),
)  # fmt: skip

# Places in the palette: of what has a colour of its own in people's minds, and the order in which others are given.
OWN = {"sky": 0, "person": 1, "grass": 6, "tree": 7, "water": 9, "ground": 13, "sand": 14, "snow": 18}
STRONG = (0, 1, 2, 8, 11, 12, 19, 5, 10, 3, 9, 6, 15, 17, 4, 7, 13, 14, 16, 18)

_AT_ONCE = 25_000_000  # pixels of an opaque picture that is worked on as a whole; others and bigger ones in bands


def read(source, max_pixels: int | None = None) -> np.ndarray:
    """Read a picture as people mean it to look, of a file with at most 300 MB of memory besides the file itself.

    Args:
        source: path, bytes, PIL image, or array (H, W), (H, W, 1), (H, W, 3), (H, W, 4): bool, uint8, uint16 or
            float in 0..1.
        max_pixels: a picture with more is scaled down to it, sides in proportion; None: `MAX_PIXELS`.

    Returns:
        RGB, uint8 (H, W, 3), writable: turned upright by its EXIF data, transparency on white, the first frame of an
        animation, grey levels of 16 bits and floats stretched over what the picture holds (`sseg.images.levels`).

    Raises:
        SSegError: no such file, not a picture of `decoding.FORMATS`, damaged or cut off, or one that takes too much
            memory even to open (RGB: over 60 megapixels, but for JPEG files; `sseg.images.decoding`).
    """
    return read_sized(source, max_pixels)[0]


def read_sized(source, max_pixels: int | None = None) -> tuple[np.ndarray, tuple[int, int]]:
    """What `read` says, and the size (H, W) that a person sees the picture at: upright, and not scaled down."""
    max_pixels = max_pixels or MAX_PIXELS
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        if not all(source.size):
            raise SSegValueError(f"A picture of {source.width} x {source.height} pixels is empty: choose another one.")
        return _to_rgb_array(source, max_pixels, "The picture"), _seen_size(source.size, source)
    image, size = decoding.open_image(source, max_pixels)
    with image:
        return _to_rgb_array(image, max_pixels, decoding.name_of(source)), _seen_size(size, image)


def _seen_size(size: tuple[int, int], image: Image.Image) -> tuple[int, int]:
    """Stored width and height -> height and width upright."""
    return size if bands.orientation(image) >= 5 else size[::-1]


def working_size(height: int, width: int, max_pixels: int | None = None) -> tuple[int, int]:
    """The size (H, W) at which `read` gives a picture: its own, or that of `max_pixels` in proportion."""
    return bands.scaled_size(height, width, max_pixels or MAX_PIXELS)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise SSegValueError(f"An array of shape {array.shape} is not a picture: use (H, W), (H, W, 3) or (H, W, 4).")
    if array.shape[0] * array.shape[1] > MOST_PIXELS:  # a view may have more than the memory
        raise SSegValueError(
            f"An array of shape {array.shape} is too big a picture (over 179 megapixels): scale it down."
        )
    if array.dtype == bool:
        array = array * np.uint8(255)
    elif array.dtype == np.uint16:
        array = levels.eight_bits(array, *levels.levels([array], integers=True))
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise SSegValueError("A picture array of floats must lie between 0 and 1: divide it by its maximum.")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise SSegValueError(f"A picture array must be uint8, uint16 or float, not {array.dtype}: convert it first.")
    return Image.fromarray(np.ascontiguousarray(array))


def _to_rgb_array(image: Image.Image, max_pixels: int, name: str) -> np.ndarray:
    try:
        image.load()
        pixels, plain = image.width * image.height, image.mode in ("L", "P", "RGB", "CMYK")
        if pixels > (_AT_ONCE if plain and not image.has_transparency_data else MAX_PIXELS):
            return bands.reduced(image, max_pixels, _rgb)
        image = bands.upright(image)
        if levels.needs_levels(image):
            image = bands.grey(image)
        if image.mode in ("L", "RGB", "RGBA", "CMYK"):
            image = _shrink(image, max_pixels)  # before conversions, to hold one big copy less
        return bands.array(_shrink(_rgb(image), max_pixels))
    except SSegError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error ... on damaged data
        raise SSegError(f"{name} is damaged or cut off and cannot be read: save it again.") from error


def _shrink(image: Image.Image, max_pixels: int) -> Image.Image:
    size = bands.scaled_size(*image.size, max_pixels)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _rgb(image: Image.Image) -> Image.Image:
    """A picture of 8 bits on white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def colors(count: int) -> np.ndarray:
    """A colour for each of `count` entries: uint8 (count, 3); `PALETTE`, then its darker and lighter shades."""
    base = np.array(PALETTE, dtype=np.float64)
    shades = [base, base * 0.6, base * 0.45 + 140]
    rounds = [shades[i % len(shades)] for i in range(-(-max(count, 1) // len(base)))]
    return np.concatenate(rounds)[:count].round().clip(0, 255).astype(np.uint8)


def colors_of(phrases: list[str]) -> np.ndarray:
    """A colour for each phrase, which is the same whatever it is asked with, as far as no other one has it already:
    uint8 (P, 3), of `colors`."""
    count = len(PALETTE)
    rounds = -(-max(len(phrases), 1) // count)
    chosen: list[int] = []
    for phrase in phrases:
        start = zlib.crc32(phrase.strip().casefold().encode()) % (count // 2)  # one of the stronger half
        order = [STRONG[(start + step) % count] for step in range(count)]
        own = [OWN[word] for word in phrase.casefold().split("|") if word in OWN]
        places = [turn * count + place for turn in range(rounds) for place in (own + order if turn == 0 else order)]
        chosen.append(next(place for place in places if place not in chosen))
    return colors(rounds * count)[chosen]


def outlines(labels: np.ndarray) -> np.ndarray:
    """Pixels (H, W) bool whose right or lower neighbour has another label."""
    edges = np.zeros(labels.shape, dtype=bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def overlay(rgb: np.ndarray, labels: np.ndarray, palette=None, opacity: float = 0.55) -> np.ndarray:
    """Colours over a picture: uint8 (H, W, 3).

    Args:
        rgb: uint8 (H, W, 3).
        labels: int (H, W), -1 = left as it is; segments are outlined in white.
        palette: uint8 (P, 3), by default `colors`.
        opacity: of the colours, 0..1.

    Raises:
        SSegError: an opacity outside 0..1.
    """
    opacity = share(opacity, "The opacity")
    if palette is None:
        palette = colors(int(labels.max(initial=-1)) + 1)
    out = rgb.copy()
    found = labels >= 0
    parts = np.uint32(round(opacity * 256))  # fixed point: a twelve megapixel picture in floats takes 300 MB
    out[found] = (rgb[found] * (256 - parts) + palette[labels[found]] * parts) >> 8
    out[outlines(labels)] = 255
    return out


def enlarge(cells: np.ndarray, size) -> np.ndarray:
    """What is at the cell of each pixel: (h, w, ...) -> (H, W, ...)."""
    rows, columns = (np.arange(n) * count // n for n, count in zip(size, cells.shape[:2], strict=True))
    return cells[rows[:, None], columns]


def id_png(labels: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """Labels (H, W) as a PNG of ids: 0 = background, i + 1 = label i; 8 bits a pixel, or 16 if an id is over 255.

    size: height and width of the PNG, if it is to be larger, by nearest neighbour.
    """
    return png(Image.fromarray(as_ids(labels, size)))


def as_ids(labels: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """The ids that `id_png` writes: uint8 (H, W), or uint16 if one is over 255."""
    if size is not None:
        of_type(size, (tuple, list), "The size of a PNG is its height and width")
        if len(size) != 2:
            raise SSegValueError(f"The size of a PNG is its height and width, not {len(size)} numbers.")
        height, width = (whole(side, "A side of a PNG", 1, 2**20) for side in size)
        size = (height, width)
        if size[0] * size[1] > MOST_PIXELS:
            raise SSegValueError(f"A PNG of {size[1]} x {size[0]} pixels is too big (over 179 megapixels): take less.")
    low, high = int(labels.min(initial=-1)), int(labels.max(initial=-1))
    if low < -1 or high > 65534:
        raise ValueError("labels must lie in -1..65534")
    ids = (labels.astype(np.int32) + 1).astype(np.uint8 if high < 255 else np.uint16)
    return enlarge(ids, size) if size and size != ids.shape else ids


def png(image: Image.Image, **options) -> bytes:
    """A PNG file in a third of the time that Pillow's defaults take, a few per cent bigger."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3, **options)
    return buffer.getvalue()


def rle(mask: np.ndarray) -> dict:
    """A mask (H, W) bool as COCO's compressed run lengths: {"size": [H, W], "counts": str}."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
