"""The Segment tab: a picture, words, and the segmented picture."""

from types import SimpleNamespace

import gradio as gr

from sseg import checkpoint
from sseg.app import failures
from sseg.app.components import examples, image_input
from sseg.app.components.viewer import SegmentViewer
from sseg.app.guards.uploads import Page, own_file
from sseg.app.running import ASK, SEGMENT, Gestures, watched
from sseg.app.service import Service
from sseg.app.tabs import keeping
from sseg.phrases import replace

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

    gestures = Gestures()
    outputs = [viewer, found, last]
    run, propose = _runner(service), _proposer(service)
    question = [image, words, background, weights, last]
    runs = [gr.on([seen.go.click, words.submit], run, question, outputs, api_name="segment", **SEGMENT)]

    def on_gesture(event, work, inputs, outputs):
        """One event for all that a gesture brings; a later gesture ends it whole. An image that it has given it gives
        again in each step: a page that is told to leave a file as it is makes the file it has unreadable."""
        runs.append(event(gestures.only_last(work), inputs, outputs, trigger_mode="multiple", **PRIVATE))

    def bring(path, background):
        """An image of the person's own: words and weights of the image before do not suit it."""
        yield path, "", gr.update(visible=False), service.live, *[gr.skip()] * 4
        for proposal in propose(path, service.live, ""):
            typed, *answer = proposal
            yield path, typed, gr.skip(), gr.skip(), typed, *answer

    def choose(background, last, event: gr.EventData):
        one = shown[failures.told(event, "index", len(shown))]
        path, suiting = own_file(one.path), examples.weights_for(one, service)
        yield path, one.words, gr.update(visible=True), suiting, "", *[gr.skip()] * 3, one.words
        for answer in run(path, one.words, background, suiting, last):
            yield path, *[gr.skip()] * 4, *answer, gr.skip()

    def other_weights(path, phrases, background, weights, last, proposed):
        if path is None:
            yield gr.skip(), gr.skip(), gr.update(value=None, stage="", error=""), None, ""
        elif phrases.strip() and phrases != proposed:
            for answer in run(path, phrases, background, weights, last):
                yield gr.skip(), gr.skip(), *answer
        else:
            for typed, *answer in propose(path, weights, last):
                yield typed, typed, *answer

    def what_is_here(path, weights, last):
        for typed, *answer in propose(path, weights, last):
            yield typed, typed, *answer

    def given(phrases, path, background, weights, last):
        yield phrases, *[gr.skip()] * 3
        for answer in run(path, phrases, background, weights, last):
            yield gr.skip(), *answer

    def reword(phrases, path, background, weights, last, event: gr.EventData):
        new = replace(phrases, failures.told(event, "old"), failures.told(event, "new"))
        yield from given(new, path, background, weights, last)

    def add_word(phrases, path, background, weights, last, event: gr.EventData):
        new = f"{phrases.rstrip(' ,;')}, {failures.told(event, 'new')}".lstrip(" ,")
        yield from given(new, path, background, weights, last)

    def come_back(kept, request: gr.Request):
        here = keeping.wanted(kept, request, service)
        if here is None:
            return (yield [gr.skip()] * 8)
        path, phrases, weights, background = here
        yield path, phrases, gr.update(visible=False), weights, *[gr.skip()] * 4
        if phrases.strip():
            for answer in run(path, phrases, background, weights):
                yield path, *[gr.skip()] * 4, *answer

    arrived = [image, words, seen.again, weights, proposed, *outputs]
    kept = keeping.state()
    on_gesture(page.load, come_back, kept, arrived)
    on_gesture(seen.button.upload, bring, [seen.button, background], arrived)
    on_gesture(seen.examples.choose, choose, [background, last], [*arrived, example_words])
    on_gesture(weights.input, other_weights, [*question, proposed], [words, proposed, *outputs])
    on_gesture(seen.here.click, what_is_here, [image, weights, last], [words, proposed, *outputs])
    asked = [image, background, weights, last]
    on_gesture(seen.again.click, given, [example_words, *asked], [words, *outputs])
    for name, button in seen.presets.items():
        on_gesture(button.click, _with(given, PRESETS[name]), asked, [words, *outputs])
    on_gesture(viewer.reword, reword, [words, *asked], [words, *outputs])
    on_gesture(viewer.also, add_word, [words, *asked], [words, *outputs])
    for event in runs:
        event.then(keeping.keep, [image, words, weights], kept, queue=False, show_progress="hidden",
                   api_visibility="private")  # fmt: skip
    viewer.halt(lambda: gr.update(stage=""), None, viewer, cancels=runs, queue=False, api_visibility="private")
    _add_api(service, image, weights, words, background, viewer, found, last)
    return image, weights


def _with(given, phrases):
    def work(path, background, weights, last):
        yield from given(phrases, path, background, weights, last)

    return work


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
        return service.ask_now(service.file, **question)

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


def _proposer(service):
    """The generator behind an image of one's own: it is asked for what the weights find in it by themselves."""

    def propose(image, weights, last):
        """Yields (words, what the viewer shows, report, key)."""

        def body(this):
            lane = service.lane(image, weights)
            words, view, report = yield from this.job(lane, service.propose, image, weights, last)
            yield words, view, report, view["key"]

        yield from watched(body, outputs=4, viewer=1)

    return propose


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
