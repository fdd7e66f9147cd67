"""Nothing leaves the machine unasked: the command is started as on a fresh machine, in a folder that is not the
checkout, and every tab is used for the first time, in a real browser."""

import re
import shutil
import time

import pytest
import timm
from huggingface_hub import constants
from safetensors.torch import save_file

from sseg.features.timm_vit import DINO
from tests.helpers.hub import serve
from tests.helpers.started import app

pytestmark = pytest.mark.browser
CALL = re.compile(r"(connect|send\w*)\(")
PLACE = re.compile(r'inet_addr\("([\d.]+)"\)|inet_pton\(AF_INET6, "([^"]+)"|sun_path=@?"([^"]+)"')
OF_THIS_MACHINE = ("127.0.0.1", "::1", "/var/run/nscd/socket")  # the last: asked for names of users, too
NAMES = re.compile(r"sin6?_port=htons\(53\)")  # of the servers that look names up


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A folder with weights of the size of DINO's."""
    folder = tmp_path_factory.mktemp("dino")
    save_file(timm.create_model(DINO).state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture
def fresh(tmp_path):
    """Folder and environment of a machine that has fetched nothing, where gradio's usual folder cannot be used."""
    (tmp_path / "gradio").write_text("somebody else's")
    environment = {"TMPDIR": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    return {"cwd": tmp_path, "GRADIO_TEMP_DIR": "", "HF_HUB_DISABLE_XET": "1", **environment}


def tab(browser, address):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(90_000)
    page.goto(address)
    return page


def use_every_tab(page):
    """An example on each tab, the first answers, and the features of the machine's own choice."""
    example(page, 1)
    page.wait_for_function("document.querySelector('.sv-note').textContent.includes('words ')")
    page.get_by_role("tab", name="Pseudo-masks").click()
    wait_for_clusters(page)
    example(page, 0)
    page.get_by_text("mini was taken, since dino is not on this machine").wait_for()
    wait_for_clusters(page)
    page.get_by_role("tab", name="Compare").click()
    page.locator("#sseg-compared .st-number").first.wait_for()
    example(page, 2)
    page.get_by_role("button", name="Wipe").wait_for()
    assert page.locator(".toast-body").count() == 0


def example(page, place):
    page.locator(".sseg-examples button").filter(visible=True).nth(place).click()


def wait_for_clusters(page):
    page.wait_for_function("document.querySelectorAll('#sseg-clusters .svp-legend li:not([hidden])').length === 8")


@pytest.mark.slow
def test_dino_is_fetched_when_somebody_says_so_and_not_before(browser, dino, fresh, tmp_path, monkeypatch):
    with serve(dino, tmp_path / "unused", monkeypatch) as hub, app(HF_ENDPOINT=constants.ENDPOINT, **fresh) as address:
        page = tab(browser, address)
        use_every_tab(page)
        page.get_by_role("tab", name="Pseudo-masks").click()
        page.get_by_label("Features", exact=True).click()
        page.get_by_role("option", name=re.compile("^dino:")).click()
        page.get_by_text("dino' are not on this machine: fetch them").wait_for()
        assert hub.asked == []
        page.get_by_role("button", name="Fetch DINO, 86 MB").click()
        page.wait_for_function("document.querySelector('#sseg-clusters .svp-code').textContent.includes('\"dino\"')")
        assert any("vit_small_patch8_224.dino" in path for path in hub.asked)
        assert page.get_by_role("button", name="Fetch DINO, 86 MB").count() == 0
        page.close()
        page = tab(browser, f"{address}?tab=pseudo-masks")  # somebody else, later
        page.get_by_text("dino was taken: its weights are here").wait_for()
        assert page.get_by_role("button", name="Fetch DINO, 86 MB").count() == 0
        page.close()


def whole(trace):
    """What strace wrote, up to the end of the page."""
    for _ in range(300):
        text = trace.read_text(errors="replace")
        if "+++ killed by SIGTERM" in text or "+++ exited" in text.splitlines()[-1]:
            return text
        time.sleep(0.1)
    raise TimeoutError


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (Debian: apt-get install strace)")
def test_start_and_first_use_look_up_no_name_and_connect_to_nothing(browser, fresh, tmp_path):
    trace = tmp_path / "trace"
    strace = ["strace", "-D", "-f", "-q", "-e", "trace=network", "-o", str(trace)]  # -D: the page stays our own child
    with app(through=strace, **fresh) as address:
        page = tab(browser, address)
        use_every_tab(page)
        page.close()
    calls = [line for line in whole(trace).splitlines() if CALL.search(line)]
    assert any("127.0.0.1" in line for line in calls)  # gradio asks its own page
    foreign = [line for line in calls if (place := PLACE.search(line))
               and (not set(place.groups()) & set(OF_THIS_MACHINE) or NAMES.search(line))]  # fmt: skip
    assert foreign == []
