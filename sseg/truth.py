"""Reading masks of true classes: one id a pixel. Only what judges may use it, never what learns."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from sseg.errors import SSegError

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
    name = "The mask" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise SSegError(f"There is no mask file {name}: check the path.")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as mask:
            if mask.mode not in _ID_MODES:
                raise SSegError(f"{name} is a colour picture ({mask.mode}): save ids as a grey or palette PNG.")
            if mask.format == "JPEG":
                raise SSegError(f"{name} is a JPEG, which does not keep ids exactly: save them as PNG.")
            return np.asarray(mask).astype(np.int32)
    except SSegError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever damaged data leads to
        raise SSegError(f"{name} cannot be read as a picture: save it as PNG again.") from error
