"""The command `python app.py` in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

APP = Path(__file__).resolve().parents[2] / "app.py"


@contextmanager
def app(*options, cwd=APP.parent, through=(), **environment):
    """The address of a page, once it answers. through: a command that runs the page's command."""
    with process(*options, cwd=cwd, through=through, **environment) as (address, _):
        yield address


@contextmanager
def process(*options, cwd=APP.parent, through=(), streams=None, **environment):
    """The same, and the process; streams: where its output goes, as `subprocess.Popen` takes it."""
    port = free_port()
    command = [*through, sys.executable, str(APP), "--port", str(port), *options]
    running = subprocess.Popen(command, cwd=cwd, env=os.environ | environment, stdout=streams, stderr=streams)
    try:
        wait_for(f"http://127.0.0.1:{port}/gradio_api/app_id", running)
        yield f"http://127.0.0.1:{port}/", running
    finally:
        running.terminate()
        running.wait(30)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(address, running):
    for _ in range(600):
        try:
            return httpx.get(address, timeout=5)
        except httpx.TransportError:
            assert running.poll() is None
            time.sleep(0.2)
    raise TimeoutError
