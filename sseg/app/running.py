"""Runs that people wait for: they say their stages where the answer will appear, and stop when nobody waits."""

import functools
import itertools
import threading
import time
from collections import OrderedDict
from concurrent.futures import wait

import gradio as gr
from gradio.context import LocalContext

from sseg.app import failures, memory

# Places for events, each kind with its own: what waits for a network must not keep short questions out. All of them
# together are no more than the threads that Gradio runs events in.
NETWORKS = {"concurrency_id": "networks", "concurrency_limit": 8, "show_progress": "hidden"}
SEGMENT = {"concurrency_id": "segment", "concurrency_limit": 16, "show_progress": "hidden"}
ASK = {"concurrency_id": "ask", "concurrency_limit": 8, "show_progress": "hidden"}
PATIENCE = 0.15  # seconds before a run is announced: what is faster should not flicker
MOST_VISITORS = 1000  # whose last gesture is remembered
LOOKS = 0.05, 0.5  # seconds between two looks at a run, at first and later: each costs the page some milliseconds


class Gestures:
    """What each visitor did last: the answer to a gesture before it comes too late to be shown."""

    def __init__(self):
        self._lock, self._numbers, self._last = threading.Lock(), itertools.count(), OrderedDict()

    def begin(self) -> tuple:
        """A gesture of the visitor whose event runs now."""
        request = LocalContext.request.get()
        gesture = getattr(request, "session_hash", None), next(self._numbers)
        with self._lock:
            self._last[gesture[0]] = gesture
            self._last.move_to_end(gesture[0])
            while len(self._last) > MOST_VISITORS:
                self._last.popitem(last=False)
        return gesture

    def last(self, gesture: tuple) -> bool:
        """Whether the visitor has done nothing since."""
        return self._last.get(gesture[0], gesture) == gesture

    def only_last(self, work):
        """The generator `work`, which ends once another gesture has begun: its last step changes nothing, since the
        page is given the last step once more when a generator ends."""

        @functools.wraps(work)
        def wrapped(*args):
            gesture, steps = self.begin(), work(*args)
            try:
                for step in steps:
                    if not self.last(gesture):
                        return (yield [gr.skip() for _ in step])
                    yield step
            finally:
                steps.close()

        return wrapped


class Stopped(Exception):
    """The person pressed Stop or closed the page."""


class Run:
    """One run of an event with so many outputs, of which number `viewer` has the properties `stage` and `error`."""

    def __init__(self, outputs: int, viewer: int = 0):
        self.outputs, self.viewer = outputs, viewer
        self.stop = threading.Event()
        self.stage = ""

    def at_stage(self, name):
        """Called by the work, in its thread, between its parts."""
        if self.stop.is_set():
            raise Stopped
        self.stage = name

    def say(self, **properties):
        """What an event yields to change the viewer's properties and nothing else."""
        values = [gr.skip()] * self.outputs
        values[self.viewer] = gr.update(**properties)
        return self.answer(*values)

    def answer(self, *values):
        return values if self.outputs > 1 else values[0]

    def job(self, submit, work, *args):
        """Generator: `work(*args, at_stage)` in the thread of `submit`; yields its stages, returns its result."""
        said, self.stage = None, "Waiting for the model"
        future, start = submit(work, *args, self.at_stage), time.monotonic()
        try:
            wait([future], PATIENCE)
            while not future.done():
                if self.stage != said:
                    said = self.stage
                    yield self.say(stage=said)
                wait([future], min(max(LOOKS[0], (time.monotonic() - start) / 10), LOOKS[1]))
                yield self.answer(*[gr.skip()] * self.outputs)  # where Stop and a closed page take effect
            return future.result()
        finally:
            future.cancel()  # if it still waits for its turn


def watched(body, outputs: int, viewer: int = 0):
    """Generator for an event: what `body(run)` yields, and its failure as one sentence in the viewer."""
    run = Run(outputs, viewer)
    yield run.say(stage="", error="")
    try:
        yield from body(run)
    except Exception as error:
        problem = failures.as_error(error)
        yield run.say(stage="", error=problem.message)
        raise problem from None
    finally:
        run.stop.set()
        memory.give_back()
