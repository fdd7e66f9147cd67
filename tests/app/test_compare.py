"""The Compare tab for programs: two answers about one picture, through real HTTP."""

import json

import numpy as np
import pytest
from gradio_client import handle_file
from PIL import Image

from sseg.__main__ import main

BOTH = "dog, green stuff, cat|kitten"


@pytest.fixture
def files(picture, tmp_path):
    picture.save(tmp_path / "photo.png")
    truth = np.zeros((90, 120), np.uint8)
    truth[:, :70], truth[:5] = 2, 255
    Image.fromarray(truth).save(tmp_path / "truth.png")
    return tmp_path / "photo.png", tmp_path / "truth.png"


def test_its_figures_are_those_of_the_command_line(client, loaded, files, capsys):
    photo, truth = files
    name, folder = loaded[1].name, str(loaded[1].folder)
    view, found = client.predict(handle_file(photo), name, name, BOTH, "sky, dog", 0.2, handle_file(truth),
                                 api_name="/compare")  # fmt: skip
    words = ["--phrases", BOTH, "--plus-phrases", "sky, dog", "--background", "0.2", "--truth", str(truth), "--json"]
    assert main(["compare", str(photo), "--weights", folder, "--plus", folder, "--device", "cpu", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    for key in ("agreement", "boundary_agreement", "areas", "flips", "miou", "mended", "broken"):
        assert found[key] == told[key], key
    view = view.get("value", view)
    assert [one["name"] for one in view["categories"]] == ["dog", "green stuff", "cat|kitten", "sky"]


@pytest.mark.parametrize(("change", "sentence"), [
    ({0: None}, "There is no picture yet"),
    ({1: "/etc"}, "not in the list of choices"),
    ({3: "", 4: ""}, "type what should be found"),
    ({3: "x" * 10_000}, "at most 200"),
])  # fmt: skip
def test_what_cannot_be_compared_is_one_sentence(client, loaded, files, change, sentence):
    name = loaded[1].name
    question = [handle_file(files[0]), name, name, "dog", "", 0, None]
    for place, value in change.items():
        question[place] = value
    with pytest.raises(Exception, match=sentence) as caught:
        client.predict(*question, api_name="/compare")
    assert "Traceback" not in str(caught.value)
    _, found = client.predict(handle_file(files[0]), name, name, "dog", "", 0, None, api_name="/compare")
    assert found["agreement"] == 1  # the app goes on


def test_a_true_mask_of_another_size_is_one_sentence(client, loaded, files, tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "small.png")
    name = loaded[1].name
    with pytest.raises(Exception, match="The true mask has 9 x 9 pixels, the picture 120 x 90"):
        client.predict(handle_file(files[0]), name, name, "dog", "", 0, handle_file(tmp_path / "small.png"),
                       api_name="/compare")  # fmt: skip
