"""The comparison viewer: two label maps over one picture, with a wipe line between them."""

import gradio as gr
from gradio.data_classes import FileData, GradioModel

from sseg.app.components.viewer import Saved, text

_SECTION = '<section class="sv cp" aria-label="Comparison">'
FILES = {"image": "webp", "mask_a": "png", "mask_b": "png", "corrections": "png"}


class ComparisonData(GradioModel):
    """What the page needs to paint two answers; masks as `viewer.pack_ids` makes them."""

    image: FileData
    mask_a: FileData
    mask_b: FileData
    corrections: FileData  # 1 where B mended A, 2 where it broke it, 0 elsewhere and without a truth
    categories: list[dict]  # name, color; id i + 1 of the masks is category i
    report: dict  # what `Comparison.to_json` says, and the names of the sides
    note: str
    run: int


class ComparisonViewer(gr.HTML):
    """Value: None, or a dict with the fields of `ComparisonData`, files as PIL pictures.

    Properties besides the value: `stage` and `error` as in `viewer.Viewer`. Figures go to the element `sseg-compared`.
    """

    data_model = ComparisonData

    def __init__(self, value=None, *, stage="", error="", **kw):
        self.stage, self.error = stage, error
        super().__init__(
            value,
            html_template=text("compare.html", before=_SECTION, after="</section>"),
            js_on_load=text("dom.js", "figures.js", "compare.js"),
            apply_default_css=False,
            stage=stage,
            error=error,
            **kw,
        )

    def postprocess(self, value):
        if value is None:
            return None
        paths = {field: Saved(value[field]).path(self.GRADIO_CACHE, kind) for field, kind in FILES.items()}
        return ComparisonData(**{**value, **{field: FileData(path=path) for field, path in paths.items()}})

    def api_info(self):
        return ComparisonData.model_json_schema()
