"""Runs that people wait for: they say their stages where the answer will appear, and stop when nobody waits."""

import threading
import time
from concurrent.futures import wait

import gradio as gr

from sseg.app import failures, memory

# Places for events, each kind with its own: what waits for a network must not keep short questions out. All of them
# together are no more than the threads that Gradio runs events in.
NETWORKS = {"concurrency_id": "networks", "concurrency_limit": 8, "show_progress": "hidden"}
SEGMENT = {"concurrency_id": "segment", "concurrency_limit": 16, "show_progress": "hidden"}
ASK = {"concurrency_id": "ask", "concurrency_limit": 8, "show_progress": "hidden"}
PATIENCE = 0.15  # seconds before a run is announced: what is faster should not flicker
LOOKS = 0.05, 0.5  # seconds between two looks at a run, at first and later: each costs the page some milliseconds


class Stopped(Exception):
    """The person pressed Stop or closed the page."""


class Run:
    """One run of an event whose first output has the properties `stage` and `error`."""

    def __init__(self, outputs: int):
        self.outputs = outputs
        self.stop = threading.Event()
        self.stage = ""

    def at_stage(self, name):
        """Called by the work, in its thread, between its parts."""
        if self.stop.is_set():
            raise Stopped
        self.stage = name

    def say(self, **properties):
        """What an event yields to change the first output's properties and nothing else."""
        return self.answer(gr.update(**properties), *[gr.skip()] * (self.outputs - 1))

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


def watched(body, outputs: int):
    """Generator for an event: what `body(run)` yields, and its failure as one sentence in the first output."""
    run = Run(outputs)
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
