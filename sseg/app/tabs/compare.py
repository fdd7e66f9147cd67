"""The Compare tab: S-Seg beside S-Seg+, or any two weights or lists of words, on one picture."""

import gradio as gr

from sseg.app import failures
from sseg.app.comparison_service import ComparisonService
from sseg.app.components import examples, image_input
from sseg.app.components.comparison_viewer import ComparisonViewer
from sseg.app.guards.uploads import own_file
from sseg.app.running import NETWORKS, watched
from sseg.app.service import Service

PRIVATE = {**NETWORKS, "api_visibility": "private"}
WITHOUT = (
    "Two weights on one picture, or two lists of words. S-Seg+, a student that learned S-Seg's own labels, is not "
    "bundled in this version."
)
WITH = "A is S-Seg, asked by words. B is S-Seg+, a student that learned S-Seg's own labels for a fixed list."


def add(service: Service, tab: gr.Tab, other_picture, other_weights) -> None:
    """Build the tab inside the current Blocks; it takes over picture and weights of the first tab when it opens."""
    compared, shown, live = ComparisonService(service), examples.load(), service.live
    student = compared.student_of(live)
    with gr.Row(elem_classes="sseg-columns"):
        with gr.Column(scale=7, elem_classes="sseg-left"):
            viewer = ComparisonViewer(None, label="view", elem_classes="sseg-viewer")
        with gr.Column(scale=5, elem_classes="sseg-right"):
            gr.Markdown(WITH if student else WITHOUT)
            other = student or next((name for name in compared.names if name != live), live)
            with gr.Row():
                a = gr.Dropdown(compared.names, value=live, label="A", min_width=140)
                b = gr.Dropdown(compared.names, value=other, label="B", min_width=140)
            words = gr.Textbox(
                "", label="What should be found?", lines=1, max_lines=4, elem_classes="sseg-words",
                placeholder="empty: all categories of S-Seg+" if student else "dog, grass, sky",
                info="Commas between things." + (" S-Seg+ knows its own categories alone." if student else ""),
            )  # fmt: skip
            go = gr.Button("Compare", variant="primary")
            with gr.Accordion("Other words for B, background, true mask", open=False):
                other_words = gr.Textbox("", label="Words for B, if others", max_lines=4)
                background = gr.Slider(0, 1, 0, step=0.05, label="Background: lowest score that counts", buttons=[])
                truth = gr.File(label="True mask: PNG of ids, 0 background, 1 the first category, 255 not counted",
                                file_types=[".png"], type="filepath", height=110)  # fmt: skip
            gr.HTML('<div id="sseg-compared"></div>')
        source = image_input.bar(shown)
    picture, thumbs = source.image, source.examples
    found = gr.JSON(label="comparison", visible=False)
    question = [picture, a, b, words, other_words, background, truth]
    run = _runner(compared)
    runs = [gr.on([go.click, words.submit, other_words.submit], run, question, [viewer, found], api_name="compare",
                  **NETWORKS)]  # fmt: skip

    def then_run(event):
        runs.append(event.then(_if_picture(run), question, [viewer, found], **PRIVATE))

    def beside(name):
        return compared.teacher_of(name) or gr.skip()

    then_run(b.input(beside, b, a, **PRIVATE))
    changed = gr.on([a.input, truth.change, background.release], lambda: None, None, None,
                    show_progress="hidden", api_visibility="private")  # fmt: skip
    then_run(changed)
    then_run(source.button.upload(lambda path: path, source.button, picture, **PRIVATE))

    def choose(a, event: gr.EventData):
        one = shown[failures.told(event, "index", len(shown))]
        pair = _pair(compared, a, examples.weights_for(one, service))
        return own_file(one.path), gr.skip() if student else one.words, *pair

    then_run(thumbs.choose(choose, a, [picture, words, a, b], **PRIVATE))
    taken = gr.State("")

    def take_over(other, own, taken, weights, a):
        if not other or other == taken:  # the picture of the last visit: what was chosen here stays
            return own, taken, gr.skip(), gr.skip()
        return other, other, *_pair(compared, a, weights)

    there = [other_picture, picture, taken, other_weights, a]
    opened = tab.select(take_over, there, [picture, taken, a, b], **PRIVATE)
    if student:  # without, there are no words to compare yet
        then_run(opened)
    viewer.halt(lambda: gr.update(stage=""), None, viewer, cancels=runs, queue=False, api_visibility="private")


def _pair(compared: ComparisonService, now: str, weights: str) -> tuple:
    """A and B for a picture that these weights suit; a pair that already has them as A, or no S-Seg+, stays."""
    suits = now == weights or weights not in compared.names or not compared.students
    return (gr.skip(), gr.skip()) if suits else (weights, compared.student_of(weights))


def _runner(compared: ComparisonService):
    """The generator behind the button: stages while it runs; stops at the next stage when it is closed."""

    def run(picture, a, b, words="", other_words="", background=0, truth=None):
        """Compare what two weights find in a picture file: what the page shows, and JSON with all figures."""

        def body(this):
            arguments = picture, a, b, words, other_words, background, truth
            yield (yield from this.job(compared.service.submit, compared.make, *arguments))

        yield from watched(body, outputs=2)

    return run


def _if_picture(run):
    def run_if_picture(picture, *rest):
        if picture is None:
            yield gr.update(value=None, stage="", error=""), None
        else:
            yield from run(picture, *rest)

    return run_if_picture
