"""Files that the Segment tab gives away: one answer at a threshold, in the form that somebody needs."""

import base64
import json
from pathlib import Path

from PIL import Image

from sseg import images
from sseg.app.service import Service
from sseg.errors import SSegError
from sseg.export.archive import file_stem

KINDS = ("ids", "overlay", "cutout", "json", "coco", "zip")


def download(service: Service, key, words, kind, background, opacity=0.6, id=0) -> dict:
    """A file as base64: {"data", "type", "ending" of its name}.

    Args:
        service, key, words, background: which answer, of a picture that is held.
        kind: of `KINDS`: ids, overlay with its legend, what phrase number `id` covers, the report, a COCO data set, or
            all of these.
        opacity: of the overlay's colours, 0..1.
        id: number of a phrase, from 1.

    Raises:
        SSegError: a kind or a phrase that there is not, or one that was not found.
    """
    if kind not in KINDS:
        raise SSegError(f"There is no such download: choose one of {', '.join(KINDS)}.")
    held = service.find(key)
    result, stem = service.answer_at(held, words, background), Path(held.name).stem
    if kind == "json":
        data, mime, ending = _json(service.report(held, words, background)), "application/json", ".json"
    elif kind == "coco":
        data, mime, ending = _json(result.coco(held.name, held.full_size)), "application/json", "-coco.json"
    elif kind == "zip":
        data, mime, ending = result.zip(held.rgb, stem, held.full_size, opacity), "application/zip", ".zip"
    elif kind == "cutout":
        data, mime = result.cut_out(held.rgb, int(id) - 1), "image/png"
        ending = f"-{file_stem(result.phrases[int(id) - 1])}.png"
    elif kind == "overlay":
        painted = Image.fromarray(result.overlay_with_legend(held.rgb, opacity))
        data, mime, ending = images.png(painted), "image/png", "-overlay.png"
    else:
        data, mime, ending = result.id_png(held.full_size), "image/png", "-ids.png"
    return {"data": base64.b64encode(data).decode(), "type": mime, "ending": ending}


def _json(value) -> bytes:
    return json.dumps(value).encode()
