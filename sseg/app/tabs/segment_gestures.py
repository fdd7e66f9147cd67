"""What the gestures on the Segment tab bring, each as one generator: first what changes at once, then the answer.

A gesture that gives an image gives it again in each step: a page that is told to leave a file as it is makes the file
it has unreadable.
"""

import gradio as gr

from sseg.app import failures
from sseg.app.components import examples
from sseg.app.guards.uploads import own_file
from sseg.app.running import watched
from sseg.app.service import Service
from sseg.app.tabs import keeping
from sseg.phrases import replace

SAME = gr.skip()


class SegmentGestures:
    """Generators for events; `shown` are the examples. "answer" stands for viewer, report and key of the image."""

    def __init__(self, service: Service, shown: list[examples.Example]):
        self.service, self.shown = service, shown

    def run(self, picture, phrases, background=None, weights=None, last=""):
        """Segment a picture file by free phrases: what the viewer shows, and JSON with areas and COCO RLE."""

        def body(this):
            lane = self.service.lane(picture, weights)
            view, report = yield from this.job(lane, self.service.segment, picture, phrases, background, weights, last)
            yield view, report, view["key"]  # plain, for API clients; the viewer ends its stage when a value arrives

        yield from watched(body, outputs=3)

    def propose(self, path, weights, last):
        """Ask for what the weights find by themselves: words, answer."""

        def body(this):
            lane = self.service.lane(path, weights)
            words, view, report = yield from this.job(lane, self.service.propose, path, weights, last)
            yield words, view, report, view["key"]

        yield from watched(body, outputs=4, viewer=1)

    def bring(self, path, background):
        """An image of the person's own, which words and weights of the one before do not suit: image, words, button of
        the example's words, weights, proposed words, answer."""
        live = self.service.live
        yield path, "", gr.update(visible=False), live, *[SAME] * 4
        for words, *answer in self.propose(path, live, ""):
            yield path, words, SAME, SAME, words, *answer

    def choose(self, background, last, event: gr.EventData):
        """An example: as `bring`, then the example's words."""
        one = self.shown[failures.told(event, "index", len(self.shown))]
        path, weights = own_file(one.path), examples.weights_for(one, self.service)
        yield path, one.words, gr.update(visible=True), weights, "", *[SAME] * 3, one.words
        for answer in self.run(path, one.words, background, weights, last):
            yield path, *[SAME] * 4, *answer, SAME

    def come_back(self, kept, request: gr.Request):
        """A page that is opened with an image to begin with (`keeping.wanted`): as `bring`."""
        wanted = keeping.wanted(kept, request, self.service)
        if wanted is None:
            return (yield [SAME] * 8)
        path, phrases, weights, background = wanted
        yield path, phrases, gr.update(visible=False), weights, *[SAME] * 4
        if phrases.strip():
            for answer in self.run(path, phrases, background, weights):
                yield path, *[SAME] * 4, *answer

    def other_weights(self, path, phrases, background, weights, last, proposed):
        """Words that the person typed stay, those that the page proposed are proposed anew: words, proposed, answer."""
        if path is None:
            yield SAME, SAME, gr.update(value=None, stage="", error=""), None, ""
        elif phrases.strip() and phrases != proposed:
            for answer in self.run(path, phrases, background, weights, last):
                yield SAME, SAME, *answer
        else:
            yield from self.what_is_here(path, weights, last)

    def what_is_here(self, path, weights, last):
        """Words that the weights find: words, proposed, answer."""
        for words, *answer in self.propose(path, weights, last):
            yield words, words, *answer

    def given(self, phrases, path, background, weights, last):
        """Words that are not typed: words, answer."""
        yield phrases, *[SAME] * 3
        for answer in self.run(path, phrases, background, weights, last):
            yield SAME, *answer

    def preset(self, phrases):
        """`given` for words that a button has."""

        def work(path, background, weights, last):
            yield from self.given(phrases, path, background, weights, last)

        return work

    def reword(self, phrases, path, background, weights, last, event: gr.EventData):
        """Another word instead of one: words, answer."""
        new = replace(phrases, failures.told(event, "old"), failures.told(event, "new"))
        yield from self.given(new, path, background, weights, last)

    def add_word(self, phrases, path, background, weights, last, event: gr.EventData):
        """One word more: words, answer."""
        new = f"{phrases.rstrip(' ,;')}, {failures.told(event, 'new')}".lstrip(" ,")
        yield from self.given(new, path, background, weights, last)
