"""Reading masks of true classes: one id a pixel. Only what judges may use it, never what learns."""

import io
import os

import numpy as np
import torch
from PIL import Image

from sseg.arguments import of_type
from sseg.errors import SSegError, SSegValueError, shown
from sseg.images import working_size
from sseg.paths import is_path

_ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


def read_ids(source) -> np.ndarray:
    """The ids of a mask file, as they are.

    Args:
        source: path or bytes of a picture: 8-bit or 16-bit grey, or palette (its indices are the ids).

    Returns:
        int32 (H, W).

    Raises:
        SSegError: no such file, not a picture, a colour picture, or a JPEG.
    """
    return _read(source).astype(np.int32)


def read_ids_at(source, size: tuple[int, int], full_size: tuple[int, int] | None = None, what="The mask") -> np.ndarray:
    """The ids of a true mask at the pixels that a picture was worked on.

    Args:
        source: as for `read_ids`, or the ids themselves, an array of whole numbers (H, W).
        size: height and width that were worked on.
        full_size: those of the picture itself, where it was scaled down; without, the library's own rule
            (`images.working_size`) says what was. A mask of that size is read by nearest neighbour.
        what: the mask, in errors.

    Returns:
        int32 (H, W) of `size`.

    Raises:
        SSegError: as `read_ids`, or a mask of neither size.
    """
    is_file = isinstance(source, (str, bytes)) or hasattr(source, "__fspath__")
    if not is_file:
        of_type(source, (np.ndarray, torch.Tensor, list, tuple), f"{what} is a path, bytes or an array of ids")
        source = _as_array(source, what)
    ids, size = _read(source) if is_file else source, tuple(size)  # type: ignore[assignment]
    if ids.ndim != 2 or not (np.issubdtype(ids.dtype, np.integer) or ids.dtype == bool):
        raise SSegValueError(f"True classes are whole numbers (H, W), not {ids.dtype} {ids.shape}.")
    fits = ids.shape == (full_size and tuple(full_size)) or (not full_size and working_size(*ids.shape) == size)
    if ids.shape != size and not fits:
        height, width = full_size or size
        raise SSegValueError(
            f"{what} has {ids.shape[1]} x {ids.shape[0]} pixels, the picture {width} x {height}: make them one size."
        )
    if ids.shape != size:
        rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, ids.shape, strict=True))
        ids = ids[rows[:, None], columns]
    return ids.astype(np.int32)


def _as_array(rows, what) -> np.ndarray:
    try:
        return np.asarray(rows)
    except ValueError as error:  # rows of different lengths
        raise SSegValueError(f"{what} has rows of different lengths: give an array (H, W).") from error


def _read(source) -> np.ndarray:
    if not isinstance(source, bytes) and not is_path(source):
        raise SSegValueError(f"A mask is a path or bytes, not {type(source).__name__}.")
    name = "The mask" if isinstance(source, bytes) else shown(source)
    if not isinstance(source, bytes) and not os.path.isfile(source):  # which, unlike pathlib, takes any name
        raise SSegError(f"There is no mask file {name}: check the path.")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as mask:
            if mask.mode not in _ID_MODES:
                raise SSegError(f"{name} is a colour picture ({mask.mode}): save ids as a grey or palette PNG.")
            if mask.format == "JPEG":
                raise SSegError(f"{name} is a JPEG, which does not keep ids exactly: save them as PNG.")
            return np.asarray(mask)
    except SSegError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever damaged data leads to
        raise SSegError(f"{name} cannot be read as a picture: save it as PNG again.") from error
