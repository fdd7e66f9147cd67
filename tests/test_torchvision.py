"""The remedy for a torchvision whose compiled operators do not fit torch.

Where the remedy has something to declare it runs in a fresh interpreter, since torch cannot forget a declaration.
"""

import importlib
import sys

import pytest

from sseg import _torchvision

# Its import needs operators that torch has not got, exactly as a CUDA build beside a CPU torch does.
MISFIT = """
import torch
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): ...
@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold): ...
"""


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Put another torchvision in the place of the installed one, for this test; returns what imports it."""

    def replace(code):
        (tmp_path / "torchvision.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        return lambda: importlib.import_module("torchvision")

    yield replace
    sys.modules.pop("torchvision", None)  # the stand-in; monkeypatch then puts the real one back


@pytest.mark.parametrize("first", ["timm", "sseg.models.sseg"])
def test_vision_libraries_work_after_import_sseg_whichever_comes_first(first, run_python):
    out = run_python(
        f"import sseg\nimport {first}\nimport sys, torch, torchvision, timm\n"
        "from transformers import MaskFormerModel\n"
        "from torchvision.transforms import v2\n"
        "print(v2.functional.resize(torch.zeros(3, 8, 8), [4, 6]).shape)\n"
        "net = timm.create_model('vit_tiny_patch16_224', num_classes=0).eval()\n"
        "print(net(torch.zeros(1, 3, 224, 224)).shape)\n"
        "declared = len(sseg._torchvision._libraries)\n"
        "print(declared == (not torchvision.extension._has_ops()), sys.modules['torchvision'] is torchvision)"
    )
    assert out.splitlines() == ["torch.Size([3, 4, 6])", "torch.Size([1, 192])", "True True"]


def test_declares_the_operators_that_the_import_asks_for(run_python, tmp_path):
    (tmp_path / "torchvision.py").write_text(MISFIT)
    out = run_python(
        "import sys, sseg\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "print('torch' in sys.modules)\n"
        "import torchvision, torch\n"
        "print(torchvision.__file__, len(sseg._torchvision._libraries))\n"
        "print(torch.ops.torchvision.nms.default, torch.ops.torchvision.qnms.default)"
    )
    file = str(tmp_path / "torchvision.py")
    assert out.splitlines() == ["False", f"{file} 1", "torchvision.nms.default torchvision.qnms.default"]


def test_leaves_a_good_torchvision_alone(instead):
    declared = len(_torchvision._libraries)
    assert instead("good = True")().good
    assert len(_torchvision._libraries) == declared


def test_other_import_errors_are_not_hidden(instead):
    with pytest.raises(RuntimeError, match="disk on fire"):
        instead("raise RuntimeError('disk on fire')")()
    with pytest.raises(ModuleNotFoundError, match="a_package_that"):
        instead("import a_package_that_torchvision_needs")()


def test_waits_once_however_often_it_is_told_to():
    before = list(sys.meta_path)
    _torchvision.mend_when_imported()
    assert sys.meta_path == before


def test_a_torchvision_that_is_not_there_stays_missing(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="No module named 'torchvision'"):
        importlib.import_module("torchvision")
