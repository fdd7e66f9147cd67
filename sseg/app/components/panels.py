"""A closer look, folded below the pictures: a headline number, figures and a table; or curves over K."""

import gradio as gr
from gradio.data_classes import FileData, GradioModel

from sseg.app import answers
from sseg.app.components.viewer import text


class Figure(GradioModel):
    image: FileData
    caption: str


class PanelData(GradioModel):
    headline: str  # one number, as it is read
    label: str  # what it is
    read: str  # how to read it
    figures: list[Figure]
    heads: list[str] = []
    rows: list[list] = []  # cells: a text, or a list of {"name", "color"}


class Panel(gr.HTML):
    """Value: None, or a dict with the fields of `PanelData`, figures with PIL pictures.

    Properties besides the value: `stage` and `error` as in `viewer.Viewer`. The event `wanted` asks for a value: when
    the panel comes into view, and when the division on the page changes while it is in view.
    """

    data_model = PanelData
    first = "Choose a picture first."  # stands there as long as there is no value
    scripts = ("dom.js", "figures.js", "panels.js")

    def __init__(self, value=None, *, stage="", error="", **kw):
        self.stage, self.error = stage, error  # gradio takes a name quoted in the script for an event
        super().__init__(
            value,
            html_template=text("panels.html").replace("FIRST", self.first),
            js_on_load=text(*self.scripts),
            apply_default_css=False,
            stage=stage,
            error=error,
            **kw,
        )

    def postprocess(self, value):
        return value and PanelData(**{**value, "figures": [self._figure(one) for one in value["figures"]]})

    def _figure(self, one) -> Figure:
        path = answers.write(one["image"], self.GRADIO_CACHE, "webp")
        return Figure(image=FileData(path=path), caption=one["caption"])

    def api_info(self):
        return self.data_model.model_json_schema() if self.data_model else {"type": "object"}


class Curves(Panel):
    """Unexplained share and silhouette over K. Value: None, or what `PanelService.curves` returns. Event `choose`
    with the `k` that was clicked."""

    data_model = None
    scripts = ("dom.js", "curves.js", "panels.js")

    def postprocess(self, value):
        return value


class TruthPanel(Panel):
    first = "Drop a mask of the picture: a PNG of class ids, or one with a palette. Pixels of 255 do not count."
