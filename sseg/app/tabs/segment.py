"""The Segment tab: a picture, words, and the segmented picture."""

import gradio as gr

from sseg import checkpoint
from sseg.app import failures
from sseg.app.components import examples, image_input
from sseg.app.components.viewer import SegmentViewer
from sseg.app.guards.uploads import own_file
from sseg.app.running import ASK, SEGMENT, watched
from sseg.app.service import Service
from sseg.phrases import replace

WELCOME = "An example, segmented by the words beside it. Type other words, or give your own picture."
PRESETS = {
    "VOC 20": "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, motorbike, "
    "person|man|woman, potted plant, sheep, sofa, train, tv monitor",
    "Surroundings": "sky, night sky, sunset, clouds, grass, sand, snow, water, forest, road, stone, brick wall, "
    "wooden floor, carpet, marble, flowers",
}


def add(service: Service, loadable: str) -> tuple[gr.Image, gr.Radio]:
    """Build the tab inside the current Blocks; returns its picture and the choice of weights.

    loadable: what code on the page writes for the live weights.
    """
    shown = examples.load()
    first = shown[0] if shown else None
    suits = examples.weights_for(first, service) if first else service.live
    value, report = None, None
    if first:
        value, report = service.call(service.segment, first.path, first.words, weights=suits)
        value["note"] = WELCOME

    def unnamed(key, words):
        return service.ask_now(service.unnamed, key)

    def explain(**question):
        return service.ask_now(service.explain, **question)

    def heat(**question):
        return service.ask_now(service.heat, **question)

    def file(**question):
        return service.ask_now(service.file, **question)

    with gr.Row(elem_classes="sseg-columns"):
        with gr.Column(scale=7, elem_classes="sseg-left"):
            viewer = SegmentViewer(
                value,
                label="view",
                panel="sseg-found",
                weights=loadable,
                live=service.live,
                server_functions=[failures.for_page(one) for one in (explain, heat, unnamed, file)],
                elem_classes="sseg-viewer",
            )
            picture, thumbs = image_input.row(shown, first and first.path)
        with gr.Column(scale=5, elem_classes="sseg-right"):
            words = gr.Textbox(
                value=first.words if first else "",
                label="What should be found?",
                info="Commas between things, | between synonyms of one thing.",
                placeholder="What is in the picture? For example: dog, grass, person|man|woman",
                lines=1,
                max_lines=6,
                elem_classes="sseg-words",
            )
            with gr.Row(elem_classes="sseg-presets"):
                again = gr.Button("This example", size="sm", visible=bool(first))
                presets = {name: gr.Button(name, size="sm") for name in PRESETS}
            weights = gr.Radio(service.names, value=suits, label="Weights", info=_advice(service.names),
                               visible=len(service.names) > 1, elem_classes="sseg-weights")  # fmt: skip
            go = gr.Button("Segment", variant="primary")
            gr.HTML('<div id="sseg-found"></div>')

    background = gr.Number(None, label="background", visible=False, info="0..1; none: the weights' own")
    found = gr.JSON(report, label="found", visible=False)
    last = gr.State(value["key"] if value else "")
    example_words = gr.State(first.words if first else "")

    outputs = [viewer, found, last]
    run = _runner(service)
    private = {**SEGMENT, "api_visibility": "private"}
    question = [picture, words, background, weights, last]
    runs = [gr.on([go.click, words.submit], run, question, outputs, api_name="segment", **SEGMENT)]

    def run_on_new(path, phrases, background, weights, last):
        if path is None:
            yield gr.update(value=None, stage="", error=""), None, ""
        elif not (phrases or "").strip():
            yield from look(path, weights)
        else:
            yield from run(path, phrases, background, weights, last)

    def look(path, weights):
        def body(this):
            view = yield from this.job(service.lane(path, weights), service.look, path, weights)
            yield view, None, view["key"]

        yield from watched(body, outputs=3)

    def arrive(path, phrases, of_example):
        """A picture of the person's own: words and weights of an example before it do not suit it."""
        if path is None:
            return gr.update(visible=False), gr.skip(), gr.skip()
        return gr.update(visible=False), "" if phrases == of_example else gr.skip(), service.live

    def again_runs(event):
        runs.append(event.then(run, question, outputs, **private))

    def choose(event: gr.EventData):
        one = shown[failures.told(event, "index", len(shown))]
        return own_file(one.path), one.words, one.words, gr.update(visible=True), examples.weights_for(one, service)

    own = picture.input(arrive, [picture, words, example_words], [again, words, weights], show_progress="hidden",
                        api_visibility="private")  # fmt: skip
    runs += [event(run_on_new, question, outputs, **private) for event in (own.then, weights.input)]
    again_runs(thumbs.choose(choose, None, [picture, words, example_words, again, weights], **private))
    again_runs(again.click(lambda phrases: phrases, example_words, words, **private))
    for name, button in presets.items():
        again_runs(button.click(lambda phrases=PRESETS[name]: phrases, None, words, **private))

    def reword(phrases, event: gr.EventData):
        return replace(phrases, failures.told(event, "old"), failures.told(event, "new"))

    again_runs(viewer.reword(reword, words, words, **private))
    viewer.halt(lambda: gr.update(stage=""), None, viewer, cancels=runs, queue=False, api_visibility="private")
    _add_api(service, words, background, viewer, found, last)
    return picture, weights


def _advice(names: list[str]) -> str | None:
    both = {checkpoint.PHOTOS, checkpoint.SCENES} <= set(names)
    return f"{checkpoint.PHOTOS} for photographs, {checkpoint.SCENES} for rendered scenes." if both else None


def _add_api(service, words, background, viewer, found, last):
    """Events without a place on the page: for programs that hold a picture's key."""
    key = gr.Textbox(label="picture", visible=False, info="key from an earlier answer; empty: the last picture")
    x, y = (gr.Number(0, label=name, precision=0, visible=False) for name in "xy")
    best = gr.JSON(label="best", visible=False)

    @failures.for_api
    def ask(key, phrases, background, last):
        """Other words about a picture that was segmented before: it is not encoded again."""
        view, report = service.ask_now(service.ask, key or last, phrases, background)
        return view, report, report["picture"]

    @failures.for_api
    def explain_pixel(key, phrases, x, y, last):
        """The five best phrases at a pixel of a picture that was segmented before."""
        return service.ask_now(service.explain, key or last, phrases, x, y)

    hidden = gr.Button(visible=False)
    hidden.click(ask, [key, words, background, last], [viewer, found, last], api_name="ask", **ASK)
    hidden = gr.Button(visible=False)
    hidden.click(explain_pixel, [key, words, x, y, last], best, api_name="explain_pixel", **ASK)


def _runner(service):
    """The generator behind the Segment button: stages while it runs; stops at the next stage when it is closed."""

    def run(picture, phrases, background=None, weights=None, last=""):
        """Segment a picture file by free phrases: what the viewer shows, and JSON with areas and COCO RLE."""

        def body(this):
            asked = picture, phrases, background, weights, last
            lane = service.lane(picture, weights)
            view, report = yield from this.job(lane, service.segment, *asked)
            yield view, report, view["key"]  # plain, for API clients; the viewer ends its stage when a value arrives

        yield from watched(body, outputs=3)

    return run
