"""The picture viewer: a Gradio component of our own, without a build step.

The template holds no value at all: people's words reach the page only through `textContent` (viewer.js), because
Gradio evaluates templates as JavaScript.
"""

from pathlib import Path

import gradio as gr
import numpy as np
from gradio import processing_utils
from gradio.data_classes import FileData, GradioModel
from PIL import Image

HERE = Path(__file__).parent


class ViewerData(GradioModel):
    """What the page needs to paint one answer; Gradio turns the two files into addresses and downloads."""

    image: FileData  # the picture
    mask: FileData  # id PNG, see `pack_ids`
    segments: list[dict]  # id, phrase, color, known, near, winner
    key: str  # of the picture, for the questions that follow
    words: str  # as typed
    background: float  # share of the scale 0..1 below which a pixel counts as background
    name: str  # of the picture's file
    note: str  # one line about this run
    run: int  # counts answers: the page is told about a value only if it differs from the one before


def pack_ids(ids, confidence) -> Image.Image:
    """(H, W) ids below 65,536 and (H, W) scores 0..1 -> RGB picture: R low byte of the id, G high byte, B score * 255.

    Opaque and lossless, so that a canvas reads back what was written. The score is rounded down: a pixel that the
    page shows at a threshold has at least that score.
    """
    ids = np.asarray(ids, np.uint16)
    score = (np.clip(np.asarray(confidence, np.float32), 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.stack([(ids & 255).astype(np.uint8), (ids >> 8).astype(np.uint8), score], -1))


class SegmentViewer(gr.HTML):
    """Value: None, or a dict with the fields of `ViewerData`, where `image` and `mask` are PIL pictures.

    Properties besides the value: `panel`, the id of the element that receives legend, pixel and downloads; `weights`,
    a name for the code texts; `stage`, what is running now ("" for nothing); `error`, one sentence or "".
    Server functions that the script calls: `heat`, `explain`, `unnamed`, `file`.
    """

    data_model = ViewerData

    def __init__(self, value=None, *, panel="", weights="", stage="", error="", **kw):
        # attributes, because gradio reads its configuration by name, and takes a name quoted in the script for an event
        self.panel, self.weights, self.stage, self.error = panel, weights, stage, error
        super().__init__(
            value,
            html_template=(HERE / "viewer.html").read_text(encoding="utf-8"),
            js_on_load="".join((HERE / name).read_text(encoding="utf-8") for name in ("viewer.js", "panel.js")),
            apply_default_css=False,
            panel=panel,
            weights=weights,
            stage=stage,
            error=error,
            **kw,
        )

    def postprocess(self, value):
        if value is None:
            return None
        files = {"image": self._file(value["image"], "webp"), "mask": self._file(value["mask"], "png")}
        return ViewerData(**{**value, **files})

    def _file(self, picture: Image.Image, kind: str) -> FileData:
        return FileData(path=processing_utils.save_pil_to_cache(picture, cache_dir=self.GRADIO_CACHE, format=kind))

    def api_info(self):
        return ViewerData.model_json_schema()
