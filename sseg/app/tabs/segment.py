"""The Segment tab: a picture, words, and the segmented picture."""

from types import SimpleNamespace

import gradio as gr

from sseg import checkpoint
from sseg.app import failures
from sseg.app.components import examples, image_input
from sseg.app.components.viewer import SegmentViewer
from sseg.app.downloads import download
from sseg.app.guards.uploads import Page
from sseg.app.running import ASK, SEGMENT, Gestures
from sseg.app.service import Service
from sseg.app.tabs import keeping
from sseg.app.tabs.segment_gestures import SegmentGestures

WELCOME = "An example, segmented by the words beside it. Type other words, or bring your own image."
PRESETS = {
    "VOC 20": "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, motorbike, "
    "person|man|woman, potted plant, sheep, sofa, train, tv monitor",
    "Surroundings": "sky, night sky, sunset, clouds, grass, sand, snow, water, forest, road, stone, brick wall, "
    "wooden floor, carpet, marble, flowers",
}
PRIVATE = {**SEGMENT, "api_visibility": "private"}


def add(service: Service, loadable: str, page: Page) -> tuple[gr.Image, gr.Radio]:
    """Build the tab inside the current Blocks; returns its image and the choice of weights.

    loadable: what code on the page writes for the live weights.
    """
    shown = examples.load()
    first = shown[0] if shown else None
    suits = examples.weights_for(first, service) if first else service.live
    value, report = None, None
    if first:
        value, report = service.call(service.segment, first.path, first.words, weights=suits)
        value["note"] = WELCOME
    seen = _layout(service, shown, value, suits, loadable)

    background = gr.Number(None, label="background", visible=False, info="0..1; none: the weights' own")
    found = gr.JSON(report, label="found", visible=False)
    last = gr.State(value["key"] if value else "")
    proposed = gr.State("")  # words that the page typed, until the person types others
    example_words = gr.State(first.words if first else "")
    image, words, weights, viewer = seen.image, seen.words, seen.weights, seen.viewer

    last_gesture, gestures = Gestures(), SegmentGestures(service, shown)
    outputs = [viewer, found, last]
    question = [image, words, background, weights, last]
    runs = [gr.on([seen.go.click, words.submit], gestures.run, question, outputs, api_name="segment", **SEGMENT)]

    def on_gesture(event, work, inputs, outputs):
        """One event for all that a gesture brings; a later gesture ends it whole."""
        runs.append(event(last_gesture.only_last(work), inputs, outputs, trigger_mode="multiple", **PRIVATE))

    arrived = [image, words, seen.again, weights, proposed, *outputs]
    kept = keeping.state()
    on_gesture(page.load, gestures.come_back, kept, arrived)
    on_gesture(seen.button.upload, gestures.bring, [seen.button, background], arrived)
    on_gesture(seen.examples.choose, gestures.choose, [background, last], [*arrived, example_words])
    on_gesture(weights.input, gestures.other_weights, [*question, proposed], [words, proposed, *outputs])
    on_gesture(seen.here.click, gestures.what_is_here, [image, weights, last], [words, proposed, *outputs])
    asked = [image, background, weights, last]
    on_gesture(seen.again.click, gestures.given, [example_words, *asked], [words, *outputs])
    for name, button in seen.presets.items():
        on_gesture(button.click, gestures.preset(PRESETS[name]), asked, [words, *outputs])
    on_gesture(viewer.reword, gestures.reword, [words, *asked], [words, *outputs])
    on_gesture(viewer.also, gestures.add_word, [words, *asked], [words, *outputs])
    for event in runs:
        event.then(keeping.keep, [image, words, weights], kept, queue=False, show_progress="hidden",
                   api_visibility="private")  # fmt: skip
    viewer.halt(lambda: gr.update(stage=""), None, viewer, cancels=runs, queue=False, api_visibility="private")
    _add_api(service, image, weights, words, background, viewer, found, last)
    return image, weights


def _layout(service, shown, value, suits, loadable) -> SimpleNamespace:
    """What is seen. In the order of the keyboard: image, words, what was found, examples, sliders."""
    first = shown[0] if shown else None

    def unnamed(key, words):
        return service.ask_now(service.unnamed, key)

    def explain(**question):
        return service.ask_now(service.explain, **question)

    def heat(**question):
        return service.ask_now(service.heat, **question)

    def file(**question):
        return service.ask_now(download, service, **question)

    with gr.Row(elem_classes="sseg-columns"):
        with gr.Column(scale=7, elem_classes="sseg-left"):
            viewer = SegmentViewer(
                value,
                label="view",
                panel="sseg-found",
                controls_at="sseg-controls",
                weights=loadable,
                live=service.live,
                server_functions=[failures.for_page(one) for one in (explain, heat, unnamed, file)],
                elem_classes="sseg-viewer",
            )
        with gr.Column(scale=5, elem_classes="sseg-right"):
            words = gr.Textbox(
                value=first.words if first else "",
                label="What should be found?",
                info="Commas between things, | between synonyms of one thing.",
                placeholder="What is in the image? For example: dog, grass, person|man|woman",
                lines=1,
                max_lines=4,
                elem_classes="sseg-words",
            )
            with gr.Row(elem_classes="sseg-presets"):
                go = gr.Button("Segment", variant="primary", min_width=120)
                here = gr.Button("What is here?", min_width=120, elem_classes="sseg-here")
            gr.HTML('<div id="sseg-found"></div>')
            with gr.Accordion("More: lists of words, weights", open=False, elem_classes="sseg-more"):
                with gr.Row(elem_classes="sseg-presets"):
                    again = gr.Button("This example's words", size="sm", visible=bool(first))
                    presets = {name: gr.Button(name, size="sm") for name in PRESETS}
                weights = gr.Radio(_named(service.names), value=suits, label="Weights", elem_classes="sseg-weights",
                                   visible=len(service.names) > 1)  # fmt: skip
        source = image_input.bar(shown, first and first.path)
        gr.HTML('<div id="sseg-controls"></div>', elem_classes="sseg-controls")
    return SimpleNamespace(viewer=viewer, words=words, go=go, here=here, again=again, presets=presets, weights=weights,
                           **vars(source))  # fmt: skip


KNOWN_BY = {checkpoint.PHOTOS: "photographs", checkpoint.SCENES: "rendered scenes"}


def _named(names: list[str]) -> list[tuple[str, str]]:
    """The weights by what they know, where it is known: (what is read, name)."""
    return [(f"{name}, for {KNOWN_BY[name]}" if name in KNOWN_BY else name, name) for name in names]


def _add_api(service, image, weights, words, background, viewer, found, last):
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

    @failures.for_api
    def suggest(image, weights):
        """What the weights find in a picture by themselves: phrases with their share of it and their mean score."""
        held = service.call(service.hold, image, weights=weights)
        return service.ask_now(service.loaded(held.weights).suggest, held.encoded)

    hidden = gr.Button(visible=False)
    hidden.click(suggest, [image, weights], best, api_name="suggest", **SEGMENT)
    hidden = gr.Button(visible=False)
    hidden.click(ask, [key, words, background, last], [viewer, found, last], api_name="ask", **ASK)
    hidden = gr.Button(visible=False)
    hidden.click(explain_pixel, [key, words, x, y, last], best, api_name="explain_pixel", **ASK)
