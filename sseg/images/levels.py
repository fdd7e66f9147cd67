"""Grey levels of more than 8 bits, integers or floats, as 8 bits: stretched over what a picture holds.

Values that stand for "nothing was measured here" do not count: NaN, infinities, the lowest number of a type (the usual
no-data value of maps), and what a GeoTIFF names itself.
"""

import numpy as np
from PIL import Image

DEPTHS = (9, 10, 11, 12, 13, 14, 16)  # bits that a 16-bit file may really hold
_LOWEST = (-(2.0**15), -(2.0**31), float(np.finfo(np.float32).min))
_GDAL_NODATA = 42113  # TIFF tag


def needs_levels(image: Image.Image) -> bool:
    """Whether the values are numbers rather than eight bits of grey or colour."""
    return image.mode.startswith("I") or image.mode == "F"


def no_data(image: Image.Image) -> float | None:
    """What a GeoTIFF says of itself that it writes where it knows nothing."""
    try:
        return float(image.tag_v2[_GDAL_NODATA].strip("\0 "))  # type: ignore[attr-defined]  # TIFFs alone
    except (AttributeError, KeyError, ValueError):
        return None


def levels(strips, integers: bool, nothing: float | None = None) -> tuple[float, float, float | None]:
    """What becomes black and what becomes white, and `nothing`, for `eight_bits`.

    Args:
        strips: arrays of values, all parts of the picture.
        integers: of 9 to 16 bits, whose white is the highest number of as many bits as the picture holds, as cameras
            count; all else is stretched from its least to its greatest value.
        nothing: a value that does not count.
    """
    low, high = np.inf, -np.inf
    for values in strips:
        counted = values[_counts(values, nothing)]
        if counted.size:
            low, high = min(low, float(counted.min())), max(high, float(counted.max()))
    if low > high:
        return 0.0, 1.0, nothing  # nothing anywhere: black
    if integers and low >= 0 and 255 < high < 2**16:
        return 0.0, next(2.0**bits - 1 for bits in DEPTHS if high < 2**bits), nothing
    return low, high, nothing


def eight_bits(values: np.ndarray, low: float, high: float, nothing: float | None = None) -> np.ndarray:
    """Values of any shape -> uint8: `low` and what does not count become 0, `high` 255; infinity is beyond `high`."""
    counted = _counts(values, nothing) | (values == np.inf)
    scaled = (np.where(counted, values, low).astype(np.float64) - low) / max(high - low, 1e-12) * 255
    return np.round(scaled.clip(0, 255)).astype(np.uint8)


def _counts(values, nothing) -> np.ndarray:
    if values.dtype.kind == "u":
        counts = np.ones(values.shape, bool)
    else:
        counts = np.isfinite(values) & ~np.isin(values, _LOWEST)
    return counts if nothing is None else counts & (values != nothing)
