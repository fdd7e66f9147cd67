"""The folded parts of the Pseudo-masks tab: curves over K, three seeds, a second source, a ground truth.

Each is computed when it comes into view, and again when the division on the page changes while it is in view.
"""

import gradio as gr

from sseg import features
from sseg.app.cluster_service import LEAST_K, MOST_K, Settings
from sseg.app.components.image_input import ImageInput
from sseg.app.components.panels import Curves, Panel, TruthPanel
from sseg.app.running import watched


def add(panel_service, question, last, private) -> list:
    """Build the parts inside the current Blocks; `question` are the picture and the settings. Returns the parts."""
    with gr.Column(elem_classes="sseg-closer"):
        with gr.Accordion("How many clusters? Elbow and silhouette", open=False):
            curves = Curves()
        with gr.Accordion("Three seeds: how stable are the clusters?", open=False):
            seeds = Panel()
        with gr.Accordion("Beside another source of features", open=False):
            sources = [one for one in features.names() if one[0] != "auto"]
            other = gr.Dropdown(menu(sources), value="sseg", label="Second features")
            beside = Panel()
        with gr.Accordion("Against a ground truth", open=False):
            with gr.Row():
                truth = ImageInput(label="Ground truth (PNG)", sources=["upload"], type="filepath", height=190,
                                     min_width=220, buttons=[])  # fmt: skip
                names = gr.Textbox(label="Names of the classes, if you like", max_lines=6,
                                   info="In the order of their ids, from 0, with commas between.",
                                   placeholder="background, cat, dog")  # fmt: skip
            against = TruthPanel()

    def add_part(part, extras, run, *changes):
        inputs = [*question, last, *extras]
        calls = [part.wanted, *changes]
        runs = [call(run, inputs, part, trigger_mode="always_last", **private) for call in calls]
        part.halt(lambda: gr.update(stage=""), None, part, cancels=runs, queue=False, api_visibility="private")

    add_part(curves, [], _curves(panel_service))
    add_part(seeds, [], _panel(panel_service, panel_service.seeds))
    add_part(beside, [other], _beside(panel_service), other.change)
    judge = _panel(panel_service, lambda *of: panel_service.truth(*of)[0], needed=1)
    add_part(against, [truth, names], judge, truth.input, names.submit)
    return [curves, seeds, beside, against]


def menu(sources) -> list:
    """Choices of a menu: what it shows, and the name."""
    return [(f"{name}: {label}", name) for name, label in sources]


def _panel(panel_service, work, needed=0):
    """An event's generator: `work` of the picture, the settings and more; None as long as one that is needed lacks."""

    def run(picture, source, k, facet, resolution, seed, method, last, *extra):
        def body(this):
            if not picture or not all(extra[:needed]):
                return (yield None)
            settings = Settings.read(source, k, facet, resolution, seed, method)
            answer = yield from panel_service.clusters.run(this, work, picture, settings, last, *extra)
            yield gr.update(value=answer, stage="")

        yield from watched(body, outputs=1)

    return run


def _beside(panel_service):
    """The two sources' features first, each where it disturbs nobody."""

    def run(picture, source, k, facet, resolution, seed, method, last, other):
        def body(this):
            if not picture:
                return (yield None)
            first = Settings.read(source, k, facet, resolution, seed, method)
            second = Settings.read(other, k, None, resolution, seed, method)
            for settings in (first, second):
                yield from panel_service.clusters.run(this, panel_service.clusters.hold, picture, settings)
            answer = yield from panel_service.clusters.run(this, panel_service.beside, picture, first, last, second)
            yield gr.update(value=answer, stage="")

        yield from watched(body, outputs=1)

    return run


def _curves(panel_service):
    def show(points):
        return gr.update(value=panel_service.curves(points))

    def run(picture, source, k, facet, resolution, seed, method, last):
        def body(this):
            if not picture:
                return (yield None)
            settings = Settings.read(source, k, facet, resolution, seed, method)
            ks = range(LEAST_K, MOST_K + 1)
            points = yield from panel_service.points(this, picture, settings, ks, show)
            yield gr.update(value=panel_service.curves(points), stage="")

        yield from watched(body, outputs=1)

    return run
