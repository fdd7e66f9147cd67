"""Ids as a PNG that looks like something: an id a pixel, each shown in its phrase's colour."""

import numpy as np
from PIL import Image

from sseg import images

MOST = 255  # colours of a palette besides the background's


def palette_png(labels: np.ndarray, colors: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """Labels as a palette PNG: 0 = background, black; i + 1 = label i, in its colour.

    Args:
        labels: int (H, W), -1 = background.
        colors: uint8 (P, 3), a colour for each label, such as `images.colors(P)`.
        size: height and width of the PNG, if it is to be larger, by nearest neighbour.

    Returns:
        The file. Pillow reads the ids as they are, `np.asarray(Image.open(file))`; OpenCV reads colours. With more
        than 255 colours it is the grey PNG of `images.id_png`, since a palette has no more.

    Raises:
        SSegError: a size that is none.

    Example:
        >>> file = palette_png(np.array([[-1, 0]]), images.colors(1))
        >>> np.asarray(Image.open(io.BytesIO(file)))  # doctest: +SKIP
        array([[0, 1]], dtype=uint8)
    """
    if len(colors) > MOST:
        return images.id_png(labels, size)
    image = Image.fromarray(images.as_ids(labels, size))
    image.putpalette([0, 0, 0, *np.asarray(colors, np.uint8).ravel().tolist()])
    return images.png(image, bits=8)  # fewer bits, as Pillow would choose for few colours, not every program reads
