"""The remedy for a torchvision whose compiled operators do not fit torch.

Where the remedy has something to declare it runs in a fresh interpreter, since torch cannot forget a declaration.
"""

import sys

import pytest

from sseg import _torchvision
from tests.conftest import ROOT

# Its import needs operators that torch has not got, exactly as a CUDA build beside a CPU torch does.
MISFIT = """
import torch
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): ...
@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold): ...
class extension:
    _has_ops = staticmethod(lambda: False)
"""
GOOD = """
class extension:
    _has_ops = staticmethod(lambda: True)
"""


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Put another torchvision in the place of the installed one, for this test."""

    def replace(code):
        (tmp_path / "torchvision.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)

    yield replace
    sys.modules.pop("torchvision", None)  # the stand-in; monkeypatch then puts the real one back


def test_vision_libraries_work_after_import_sseg(run_python):
    out = run_python(
        "import sys, sseg, torch, torchvision, timm\n"
        "from transformers import MaskFormerModel\n"
        "from torchvision.transforms import v2\n"
        "print(v2.functional.resize(torch.zeros(3, 8, 8), [4, 6]).shape)\n"
        "net = timm.create_model('vit_tiny_patch16_224', num_classes=0).eval()\n"
        "print(net(torch.zeros(1, 3, 224, 224)).shape)\n"
        "declared = len(sseg._torchvision._libraries)\n"
        "print(sseg._torchvision.ensure() in ('native', 'schema'), sys.modules['torchvision'] is torchvision)\n"
        "print(declared == len(sseg._torchvision._libraries))"
    )
    assert out.splitlines() == ["torch.Size([3, 4, 6])", "torch.Size([1, 192])", "True True", "True"]


def test_declares_the_operators_that_the_import_asks_for(run_python, tmp_path):
    (tmp_path / "torchvision.py").write_text(MISFIT)
    out = run_python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import importlib.util, torch\n"
        f"spec = importlib.util.spec_from_file_location('remedy', {str(ROOT / 'sseg' / '_torchvision.py')!r})\n"
        "remedy = importlib.util.module_from_spec(spec); spec.loader.exec_module(remedy)\n"
        "print(remedy.ensure(), remedy.ensure(), len(remedy._libraries))\n"
        "print(torch.ops.torchvision.nms.default, torch.ops.torchvision.qnms.default)"
    )
    assert out.splitlines() == ["schema schema 1", "torchvision.nms.default torchvision.qnms.default"]


def test_leaves_a_good_torchvision_alone(instead):
    instead(GOOD)
    declared = len(_torchvision._libraries)
    assert _torchvision.ensure() == _torchvision.ensure() == "native"
    assert len(_torchvision._libraries) == declared


def test_other_import_errors_are_not_hidden(instead):
    instead("raise RuntimeError('disk on fire')")
    with pytest.raises(RuntimeError, match="disk on fire"):
        _torchvision.ensure()
    instead("import a_package_that_torchvision_needs")
    with pytest.raises(ModuleNotFoundError, match="a_package_that"):
        _torchvision.ensure()


def test_does_without_torchvision(instead, monkeypatch):
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise ModuleNotFoundError("No module named 'torchvision'", name=name)

    instead("")
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    assert _torchvision.ensure() is None
