"""The picture viewer: a Gradio component of our own, without a build step.

The templates hold no value at all: people's words reach the page only through `textContent` (viewer.js), because
Gradio evaluates templates as JavaScript.
"""

import json
from functools import cache
from pathlib import Path

import gradio as gr
import numpy as np
from gradio.data_classes import FileData, GradioModel
from PIL import Image

from sseg.app import answers

STATIC = Path(__file__).parents[1] / "static"
SCRIPTS = ("dom.js", "names.js", "viewer.js", "legend.js", "saving.js")  # of every viewer


class ViewerData(GradioModel):
    """What the page needs to paint one answer; Gradio turns the files into addresses and downloads."""

    image: FileData  # the picture
    mask: FileData  # id PNG, see `pack_ids`; a coarser one than the picture is enlarged to it
    segments: list[dict]  # id, phrase, color, and what the legend's columns name
    key: str  # for the questions that follow
    name: str  # of the picture's file
    note: str  # one line about this run
    run: int  # counts answers: the page is told about a value only if it differs from the one before


class SegmentData(ViewerData):
    """Segments also say: known, near, winner."""

    words: str  # as typed
    also: list[str]  # known phrases that are found there, too
    background: float  # share of the scale 0..1 below which a pixel counts as background
    weights: str  # name of those that answered


class ClusterData(ViewerData):
    """Segments also say: spread, inertia, compactness, nearest, border, pieces."""

    colours: FileData  # the features as colours, a pixel a patch
    features: str  # key of the features: pseudo-masks of one key have the same patches
    places: list[int]  # of the clusters in the palette
    settings: dict  # features, k, facet, resolution, seed, method


def pack_ids(ids, confidence) -> Image.Image:
    """(H, W) ids below 65,536 and (H, W) scores 0..1 -> RGB picture: R low byte of the id, G high byte, B score * 255.

    Opaque and lossless, so that a canvas reads back what was written. The score is rounded down: a pixel that the
    page shows at a threshold has at least that score.
    """
    ids = np.asarray(ids, np.uint16)
    score = (np.clip(np.asarray(confidence, np.float32), 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.stack([(ids & 255).astype(np.uint8), (ids >> 8).astype(np.uint8), score], -1))


class Saved:
    """A picture that is written to the disk for the page once, and again only when its file was cleared away."""

    def __init__(self, picture: Image.Image):
        self.picture, self._path = picture, None

    def path(self, folder, kind) -> str:
        if self._path is None or not Path(self._path).is_file():
            self._path = answers.write(self.picture, folder, kind)
        return self._path


@cache
def text(*names: str, before: str = "", after: str = "") -> str:
    """Files of the folder `static` as one text. The same object each time: gradio makes a component anew for every
    session that changes one of its properties, and keeps it."""
    return before + "".join((STATIC / name).read_text(encoding="utf-8") for name in names) + after


def column(key, form, width, head="", title="") -> dict:
    """One column of the legend: `key` of a segment's facts; `form` percent, decimals, text or bar; width in pixels."""
    return {"key": key, "form": form, "width": width, "head": head, "title": title}


class Viewer(gr.HTML):
    """A picture with segments painted over it and a legend; `SegmentViewer` and `ClusterViewer` say what is beside it.

    Value: None, or a dict with the fields of the data model, where files are PIL pictures or `Saved` ones. Properties
    besides the value: `panel`, the id of the element that receives the legend and what goes with it; `controls_at`,
    the id of one for the sliders, "" to leave them under the picture; `weights`, a name
    for the code texts, of the weights that are `live`; `stage`, what is running now ("" for nothing); `error`, one
    sentence or "".
    """

    data_model = ViewerData
    label_of_section = "Picture"
    part = ""  # file of the markup beside the picture
    scripts = ()
    controls = ("opacity",)  # of those under the picture
    columns = ()  # of the legend
    thing = "segment"  # what a row of the legend is
    files = {"image": "webp", "mask": "png"}  # fields that are pictures

    def __init__(self, value=None, *, panel="", controls_at="", weights="", live="", stage="", error="", **kw):
        # attributes, because gradio reads its configuration by name, and takes a name quoted in the script for an event
        self.panel, self.weights, self.live, self.stage, self.error = panel, weights, live, stage, error
        # in the script, because a page that is told of a change before it shows the component forgets the properties
        setup = {"panel": panel, "controlsAt": controls_at, "controls": self.controls}
        setup |= {"columns": self.columns, "thing": self.thing}
        section = f'<section class="sv" aria-label="{self.label_of_section}">'
        setup = f"const setup = {json.dumps(setup)};\n"
        super().__init__(
            value,
            html_template=text("viewer.html", self.part, before=section, after="</section>"),
            js_on_load=text(*SCRIPTS, *self.scripts, before=setup, after="\nstart();"),
            apply_default_css=False,
            weights=weights,
            live=live,
            stage=stage,
            error=error,
            **kw,
        )

    def postprocess(self, value):
        if value is None:
            return None
        files = {field: self._file(value[field], kind) for field, kind in self.files.items()}
        return self.data_model(**{**value, **files})

    def _file(self, picture, kind: str) -> FileData:
        saved = picture if isinstance(picture, Saved) else Saved(picture)
        return FileData(path=saved.path(self.GRADIO_CACHE, kind))

    def api_info(self):
        return self.data_model.model_json_schema()


class SegmentViewer(Viewer):
    """Server functions that the script calls: `heat`, `explain`, `unnamed`, `file`."""

    data_model = SegmentData
    label_of_section = "Segmented picture"
    part, scripts = "segment.html", ("heat.js", "segment.js")
    controls = ("opacity", "background", "names", "unnamed")
    columns = (column("area", "percent", 50), column("area", "bar", 70), column("score", "decimals", 34))


class ClusterViewer(Viewer):
    """Server functions that the script calls: `similar`, `outlines`, `file`."""

    data_model = ClusterData
    label_of_section = "Clusters of the picture"
    part, scripts = "clusters.html", ("heat.js", "clusters.js")
    controls = ("opacity", "outlines")
    thing = "cluster"
    columns = (
        column("area", "percent", 52, "area", "Share of the picture"),
        column("spread", "decimals", 52, "spread", "How far its patches lie from their mean; all patches together: 1"),
        column("inertia", "percent", 54, "inertia", "Its share of the sum of squares that K-Means makes small"),
        column("compactness", "decimals", 58, "compact", "1 is a disc; thin or scattered clusters have less"),
        column("border", "percent", 52, "border", "Share of its patches that touch another cluster"),
        column("nearest", "text", 52, "nearest", "The cluster whose features are most alike"),
    )
    files = {"image": "webp", "mask": "png", "colours": "png"}
