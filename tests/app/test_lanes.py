"""Short questions overtake slow work: requests to a started page, compared by what is answered first."""

import time

import pytest
from gradio_client import handle_file

SLOW = 8  # jobs: as many as the page lets wait for the model at once


@pytest.fixture
def slow_work(client, path):
    """Jobs under way that divide a picture by spectral clustering, seconds each; they are stopped afterwards."""
    settings = [("pixels", 24, "", 672, seed, "spectral") for seed in range(SLOW)]
    jobs = [client.submit(handle_file(path), *one, api_name="/pseudo_masks") for one in settings]
    deadline = time.monotonic() + 60
    while not all(job.outputs() for job in jobs):  # each has a place in the queue, and waits for the model or has it
        assert time.monotonic() < deadline and not any(job.done() for job in jobs)
        time.sleep(0.02)
    yield jobs
    for job in jobs:
        job.cancel()


@pytest.fixture
def held(client, path):
    """Keys of a picture that was segmented, and divided, before."""
    _, found = client.predict(handle_file(path), "dog", None, None, api_name="/segment")
    _, divided = client.predict(handle_file(path), "pixels", 4, "", 224, 0, "kmeans", api_name="/pseudo_masks")
    return found["picture"], divided["key"]


def test_questions_about_pictures_that_were_read_overtake_slow_work(client, path, held, slow_work):
    picture, divided = held
    _, asked = client.predict(picture, "sky, grass", 0.1, api_name="/ask")
    assert sum(job.done() for job in slow_work) < SLOW / 4
    assert [one["phrase"] for one in asked["phrases"]] == ["sky", "grass"]
    assert len(client.predict(picture, "sky, grass", 20, 30, api_name="/explain_pixel")) > 0
    _, again = client.predict(handle_file(path), "cat", None, None, api_name="/segment")  # other words on the page
    assert again["picture"] == picture
    assert client.predict(divided, 20, 30, api_name="/explain_patch")[1]["key"] == divided
    assert sum(job.done() for job in slow_work) < SLOW / 2
