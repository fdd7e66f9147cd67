"""Runs that people wait for: they say their stages where the answer will appear, and stop when nobody waits."""

import threading
from concurrent.futures import wait

import gradio as gr

from sseg.app import failures

PATIENCE = 0.15  # seconds before a run is announced: what is faster should not flicker


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
        future = submit(work, *args, self.at_stage)
        try:
            wait([future], PATIENCE)
            while not future.done():
                if self.stage != said:
                    said = self.stage
                    yield self.say(stage=said)
                wait([future], 0.05)
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
