"""The Pseudo-masks tab: how a picture divides by the features of a network, without words."""

from types import SimpleNamespace

import gradio as gr
from gradio.data_classes import ImageData

from sseg import features
from sseg.app import answers, failures
from sseg.app.cluster_service import (
    DINO_SIZE,
    LEAST_K,
    MOST_K,
    RESOLUTIONS,
    START_K,
    START_RESOLUTION,
    ClusterService,
    Settings,
)
from sseg.app.components import examples, image_input
from sseg.app.components.viewer import ClusterViewer
from sseg.app.guards.uploads import own_file
from sseg.app.panel_service import PanelService
from sseg.app.running import ASK, NETWORKS, watched
from sseg.app.service import Service
from sseg.app.tabs import panels
from sseg.pseudo_masks.feature_map import SILHOUETTE_K
from sseg.pseudo_masks.masker import check

PRIVATE = {**NETWORKS, "api_visibility": "private"}
ABOUT_FEATURES = "What the division sees of each patch."
METHODS = [("K-Means", "kmeans"), ("Spectral (slow, to compare)", "spectral")]


class HeatMap(gr.Image):
    """gr.Image for answers, whose files are written whole."""

    is_template = True

    def postprocess(self, value):
        return value and ImageData(path=answers.write(value, self.GRADIO_CACHE, self.format))


def add(service: Service, tab: gr.Tab, other_picture) -> None:
    """Build the tab inside the current Blocks; the picture chosen on another tab is taken over when this one opens."""
    clusters = ClusterService(service)
    panel_service = PanelService(clusters)
    shown = examples.load()
    viewer, source, controls = _layout(clusters, shown)
    picture = source.image
    last = gr.State({})
    question = [picture, controls.source, controls.k, controls.facet, controls.resolution, controls.seed,
                controls.method]  # fmt: skip
    parts = panels.add(panel_service, question, last, PRIVATE)
    outputs = [viewer, last, controls.source, controls.facet]
    run = _runner(clusters)

    def then_run(event):
        runs.append(event)
        runs.append(event.then(run, [*question, last], outputs, **PRIVATE))

    fresh = _unless_shown(run)  # a menu also changes when the answer says what "auto" took
    menus = [controls.source.change, controls.resolution.change, controls.facet.change, controls.method.change]
    moved = [controls.k.input, controls.seed.input, *menus]
    runs = [gr.on(moved, fresh, [*question, last], outputs, trigger_mode="always_last", **PRIVATE)]
    then_run(source.examples.choose(_chosen(shown), None, picture, **PRIVATE))
    then_run(source.button.upload(lambda path: path, source.button, picture, **PRIVATE))
    then_run(controls.best.click(_best_k(panel_service), question, [viewer, controls.k], **PRIVATE))
    then_run(controls.dino.click(_fetch_dino(clusters), None, [viewer, controls.source, controls.dino], **PRIVATE))
    then_run(parts[0].choose(_chosen_k, None, controls.k, **PRIVATE))

    tab.select(lambda: gr.update(visible=not features.at_hand()), None, controls.dino, **PRIVATE)
    taken = gr.State("")
    opened = tab.select(_take_over, [other_picture, picture, taken], [picture, taken], **PRIVATE)
    runs.append(opened.then(fresh, [*question, last], outputs, **PRIVATE))
    viewer.halt(lambda: gr.update(stage=""), None, viewer, cancels=runs, queue=False, api_visibility="private")
    _add_api(clusters, panel_service, picture, viewer, last, parts[-1])


def _layout(clusters, shown):
    """Viewer, where the image comes from, and controls."""

    def similar(key, row, column):
        return clusters.quick(clusters.similar, key, row, column).result()

    def outlines(key):
        return clusters.quick(clusters.outlines, key).result()

    def file(key, kind, outlines):
        return clusters.quick(clusters.file, key, kind, outlines).result()

    with gr.Row(elem_classes="sseg-columns"):
        with gr.Column(scale=7, elem_classes="sseg-left"):
            viewer = ClusterViewer(
                None,
                label="view",
                panel="sseg-clusters",
                server_functions=[failures.for_page(one) for one in (similar, outlines, file)],
                elem_classes="sseg-viewer",
            )
        with gr.Column(scale=5, elem_classes="sseg-right"):
            controls = _controls()
            gr.HTML('<div id="sseg-clusters"></div>')
        source = image_input.bar(shown)
    return viewer, source, controls


def _controls() -> SimpleNamespace:
    """What can be chosen about a division."""
    k = gr.Slider(LEAST_K, MOST_K, START_K, step=1, label="Clusters (K)", buttons=[])
    with gr.Row(elem_classes="sseg-presets"):
        best = gr.Button("K by silhouette", size="sm")
    source = gr.Dropdown(panels.menu(features.names()), value="auto", label="Features", info=ABOUT_FEATURES)
    dino = gr.Button(f"Fetch DINO, {DINO_SIZE}", size="sm", visible=False)  # until it is known whether it is here
    with gr.Accordion("Resolution, facet, seed, method", open=False), gr.Row():
        resolution = gr.Dropdown(list(RESOLUTIONS), value=START_RESOLUTION, label="Resolution", min_width=200,
                                 info="More pixels, smaller patches.")  # fmt: skip
        facets = list(features.ViTFeatures.facets)  # all that there are, until a source says which it has
        facet = gr.Dropdown(facets, value=None, label="Facet", min_width=200, info="Kind of features.")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=200, info="Where K-Means begins.")
        method = gr.Dropdown(METHODS, value="kmeans", label="Method", min_width=200, info="How to divide.")
    return SimpleNamespace(k=k, best=best, source=source, dino=dino, resolution=resolution, facet=facet, seed=seed,
                           method=method)  # fmt: skip


def _runner(clusters):
    """The generator behind every control: stages while it runs, stops at the next stage when it is closed."""

    def run(picture, source, k, facet, resolution, seed, method, last):
        def body(this):
            if not picture:
                return (yield None, {}, gr.skip(), gr.skip())
            other_source = last and last["asked"][1] != source  # its facets are others
            settings = Settings.read(source, k, None if other_source else facet, resolution, seed, method)
            view = yield from clusters.run(this, clusters.make, picture, settings, last)
            asked = [picture, source, k, view["settings"]["facet"], resolution, seed, method]  # as the page will say
            yield view, _kept(view, asked), *_taken(clusters, view, settings, last)

        yield from watched(body, outputs=4)

    return run


def _kept(view, asked) -> dict:
    """What a session remembers of its last answer. asked: the picture and the settings."""
    return {"key": view["key"], "places": view["places"], "features": view["features"], "asked": asked}


def _taken(clusters, view, settings, last):
    """Updates of the menus of sources and facets: what was taken."""
    same = last and last["features"].split("/")[1:] == view["features"].split("/")[1:]  # all but the picture
    if same and last["asked"][1] == settings.features:
        return gr.skip(), gr.skip()
    source = clusters.fetch(settings).source
    said = f"Automatic: {source.note}" if source.note and settings.features == "auto" else ABOUT_FEATURES
    facets = gr.update(choices=list(source.facets), value=view["settings"]["facet"], interactive=len(source.facets) > 1)
    return gr.update(info=said), facets


def _unless_shown(run):
    """`run`, but nothing if its answer is what is shown already."""

    def run_if_new(*question):
        *asked, last = question
        if last and last["asked"] == asked:
            yield gr.update(stage="", error=""), gr.skip(), gr.skip(), gr.skip()
        else:
            yield from run(*question)

    return run_if_new


def _take_over(other, own, taken):
    """The picture of the other tab, if it is another one than at the last visit."""
    return (other, other) if other and other != taken else (own, taken)


def _chosen_k(event: gr.EventData):
    return failures.told(event, "k")


def _chosen(shown):
    def choose(event: gr.EventData):
        return own_file(shown[failures.told(event, "index", len(shown))].path)

    return choose


def _best_k(panel_service):
    def best(picture, source, k, facet, resolution, seed, method):
        def body(this):
            settings = Settings.read(source, k, facet, resolution, seed, method)
            points = yield from panel_service.points(this, picture, settings, SILHOUETTE_K)
            yield gr.update(stage=""), panel_service.curves(points)["best"] or k

        yield from watched(body, outputs=2)

    return best


def _fetch_dino(clusters):
    """Nothing is fetched but here, when somebody presses the button."""

    def fetch():
        def body(this):
            yield from this.job(clusters.fetching.submit, clusters.fetch_dino)
            yield gr.update(stage=""), "dino", gr.update(visible=False)

        yield from watched(body, outputs=3)

    return fetch


def _add_api(clusters, panel_service, picture, viewer, last, against):
    """Public events, for programs; the page has its own."""
    source = gr.Textbox("auto", label="features", visible=False)
    k = gr.Number(START_K, label="k", visible=False)
    facet = gr.Textbox("", label="facet", visible=False, info="empty: the first of the source")
    resolution = gr.Number(START_RESOLUTION, label="resolution", visible=False)
    seed = gr.Number(0, label="seed", visible=False)
    method = gr.Textbox("kmeans", label="method", visible=False)
    settings = [source, k, facet, resolution, seed, method]
    outlines = gr.Textbox("cells", label="outlines", visible=False, info="cells, or picture: follow its colours")
    key = gr.Textbox(label="key", visible=False, info="of an earlier answer")
    x, y = (gr.Number(0, label=name, precision=0, visible=False) for name in "xy")
    truth = gr.File(label="truth", visible=False, type="filepath")
    names = gr.Textbox("", label="names", visible=False, info="of the classes, in id order, commas between")
    heat = HeatMap(label="heat map", format="png", visible=False)
    found, compared, score = (gr.JSON(label=name, visible=False) for name in ("clusters", "similarity", "score"))

    def pseudo_masks(picture, features="auto", k=START_K, facet="", resolution=START_RESOLUTION, seed=0,
                     method="kmeans", outlines="cells", last=None):  # fmt: skip
        """Divide a picture file into clusters: what the viewer shows, and JSON with areas and COCO RLE."""

        def body(this):
            check(outlines=outlines)
            settings = Settings.read(features, k, facet, resolution, seed, method)
            view = yield from clusters.run(this, clusters.make, picture, settings, last)
            report = yield from this.job(clusters.quick, lambda key, at_stage: clusters.report(key, outlines),
                                         view["key"])  # fmt: skip
            asked = [picture, features, k, view["settings"]["facet"], resolution, seed, method]
            yield view, {**report, "note": view["note"]}, _kept(view, asked)

        yield from watched(body, outputs=3)

    @failures.for_api
    def explain_patch(key, x, y):
        """Similarity of the patch under a pixel to all others: heat map and JSON."""
        return clusters.quick(clusters.explain, key, x, y).result()

    def pseudo_masks_truth(picture, truth, features="auto", k=START_K, facet="", resolution=START_RESOLUTION, seed=0,
                           method="kmeans", names=""):  # fmt: skip
        """How well a picture's clusters could fit true classes (oracle mIoU): what the page shows, and JSON."""

        def body(this):
            settings = Settings.read(features, k, facet, resolution, seed, method)
            yield (yield from clusters.run(this, panel_service.truth, picture, settings, None, truth, names))

        yield from watched(body, outputs=2)

    hidden = [gr.Button(visible=False) for _ in range(3)]
    hidden[0].click(pseudo_masks, [picture, *settings, outlines, last], [viewer, found, last], api_name="pseudo_masks",
                    **NETWORKS)  # fmt: skip
    hidden[1].click(explain_patch, [key, x, y], [heat, compared], api_name="explain_patch", **ASK)
    judged = [picture, truth, *settings, names]
    hidden[2].click(pseudo_masks_truth, judged, [against, score], api_name="pseudo_masks_truth", **NETWORKS)
