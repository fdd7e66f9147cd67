"""What a page remembers of its visitors does not grow with what they ask."""

import gc
import subprocess
import sys
import tracemalloc

import pytest
from gradio_client import Client, handle_file

from sseg.app.build import SESSIONS, build, options
from tests.helpers.raw import META, ask, upload

FEW, REQUESTS = 3, 15


@pytest.fixture
def small(loaded):
    """A page that remembers few sessions."""
    page = build(*loaded)
    page.launch(prevent_thread_lock=True, quiet=True, **options("127.0.0.1", None) | {"state_session_capacity": FEW})
    yield page
    page.close()


def held_by(work):
    """KiB that each of many calls of `work` leaves behind, once a few have been made."""
    for number in range(FEW + 5):
        work(number)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(REQUESTS):
        work(number)
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / REQUESTS / 1024


@pytest.fixture
def traced():
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


def test_requests_of_one_visitor_leave_nothing_behind(small, path, traced):
    client = Client(small.local_url, verbose=False)
    words = ["dog", "cat", "sky"]
    left = held_by(lambda i: client.predict(handle_file(path), words[i % 3], 0.1, None, api_name="/segment"))
    session = next(reversed(small.state_holder.session_data.values()))
    client.close()
    assert session.blocks_config.blocks.keys() == session.config_values.keys() == small.blocks.keys()
    assert left < 10, f"{left:.0f} KiB a request"


def test_visitors_who_come_once_leave_nothing_behind(small, path, traced):
    file = {"path": upload(small.local_url, path), "meta": META}
    left = held_by(lambda i: ask(small.local_url, "segment", [file, "dog", 0.1, None]))
    assert len(small.state_holder.session_data) <= FEW
    assert left < 10, f"{left:.0f} KiB a request"  # a queue for each of the last 2,000


def test_the_page_remembers_a_stated_number_of_sessions():
    assert options()["state_session_capacity"] == SESSIONS <= 500


FREED = """
import re
from sseg.app import memory
def resident(): return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
kept = [bytearray(60_000) for _ in range(4000)]  # too small to be mapped one by one
del kept[:-1]  # the last one keeps the heap from shrinking by itself
before = resident()
memory.give_back(every=0)
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_freed_memory_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 150, "of 240 MB"


def test_memory_goes_back_after_runs_now_and_then(monkeypatch):
    from sseg.app import memory, running

    trims = []
    monkeypatch.setattr(memory, "_trim", trims.append)
    monkeypatch.setattr(memory, "_last", -memory.EVERY)
    for _ in range(3):
        list(running.watched(lambda run: iter([1]), 1))
    assert len(trims) == 1
