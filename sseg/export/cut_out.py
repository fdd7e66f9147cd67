"""One phrase cut out of an image, on nothing."""

import numpy as np
from PIL import Image
from scipy import ndimage

from sseg import images
from sseg.errors import SSegValueError


def cut_out(rgb: np.ndarray, mask: np.ndarray, uncropped: bool = False) -> bytes:
    """What lies under a mask, as a PNG with transparency.

    Args:
        rgb: uint8 (H, W, 3), the image.
        mask: bool (H, W).
        uncropped: keep the image's size; else the PNG ends where the mask does.

    Returns:
        An RGBA file. Along the outline alpha is softened over two pixels; it is 128 or more under the mask and less
        elsewhere.

    Raises:
        SSegError: a mask of another size, or one without a pixel.

    Example:
        >>> Path("dog.png").write_bytes(cut_out(rgb, answer.labels == 0))  # doctest: +SKIP
    """
    if mask.shape != rgb.shape[:2]:
        raise SSegValueError("The mask to cut out by has another size than the image: take the one of this image.")
    box = bounding_box(mask)
    if box is None:
        raise SSegValueError("There is nothing to cut out: this phrase was not found in the image.")
    alpha = np.zeros(mask.shape, np.uint8)
    around = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)  # the soft edge is outside, too
    alpha[around] = _soft(mask[around])
    place = (slice(None), slice(None)) if uncropped else around
    return images.png(Image.fromarray(np.dstack([rgb[place], alpha[place]])))


def bounding_box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns that a mask (H, W) reaches; None where it has no pixel."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _soft(mask: np.ndarray) -> np.ndarray:
    """Alpha 0..255 (H, W): the mean of 3 x 3 pixels, kept on its own side of the middle."""
    mean = ndimage.uniform_filter(mask.astype(np.float32), 3, mode="nearest")  # an object at the border is cut there
    return np.round(np.where(mask, mean.clip(min=0.502), mean.clip(max=0.498)) * 255).astype(np.uint8)
