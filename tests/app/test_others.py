"""What somebody else gave to the page is not told to a visitor who has the same picture."""

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from tests.helpers.raw import META, ask, upload

DIVISION = ["pixels", 3, "", 224, 0, "kmeans"]


@pytest.fixture
def twins(path, tmp_path):
    """Two files of the same bytes: somebody else's and the visitor's own."""
    files = tmp_path / "ALICE-medical-report.png", tmp_path / "mine.png"
    for file in files:
        file.write_bytes(path.read_bytes() + b"twins")
    return files


@pytest.fixture
def two(address):
    clients = Client(address, verbose=False), Client(address, verbose=False)
    yield clients
    for one in clients:
        one.close()


EVENTS = {
    "segment": lambda file, name: (file, "dog", 0.15, None),
    "pseudo_masks": lambda file, name: (file, *DIVISION, "cells"),
    "pseudo_masks_truth": lambda file, name: (file, file, *DIVISION, ""),
    "compare": lambda file, name: (file, name, name, "dog", "sky", 0, None),
}


@pytest.mark.parametrize("event", EVENTS)
def test_a_visitor_with_the_same_picture_never_sees_the_name_of_anothers_file(address, loaded, twins, event, tmp_path):
    if event == "pseudo_masks_truth":  # a mask of grey ids
        for file in twins:
            Image.new("L", (60, 40), 1).save(file, "png")
    answers = []
    for file in twins:
        value = {"path": upload(address, file), "orig_name": file.name, "meta": META}
        name, answer = ask(address, event, EVENTS[event](value, loaded[1].name))
        assert name == "complete", answer
        answers.append(str(answer))
    assert "ALICE-medical-report" in answers[0]
    assert "ALICE" not in answers[1] and "mine.png" in answers[1]


def test_later_questions_keep_to_the_own_name_too(two, twins):
    (alice, _), (bob, _) = (
        (client.predict(handle_file(file), "dog", 0.15, api_name="/segment")[1], client)
        for client, file in zip(two, twins, strict=True)
    )
    for client, found, name in zip(two, (alice, bob), ("ALICE-medical-report.png", "mine.png"), strict=True):
        view, again = client.predict(found["picture"], "sky", 0.15, api_name="/ask")
        assert view["name"] == again["name"] == name
        view, again = client.predict("", "grass", 0.15, api_name="/ask")
        assert view["name"] == again["name"] == name


@pytest.mark.parametrize("event", ["segment", "pseudo_masks"])
def test_the_line_about_a_run_does_not_tell_that_somebody_had_the_picture_before(two, path, event):
    path.write_bytes(path.read_bytes() + event.encode())
    notes = []
    for client in (*two, two[1]):
        answer = client.predict(*EVENTS[event](handle_file(path), ""), api_name=f"/{event}")
        notes.append(answer[0]["note"])
    assert not any("words only" in note or "from memory" in note for note in notes[:2]), notes
    if event == "segment":  # the visitor's own second question about it
        assert "words only" in notes[2]
