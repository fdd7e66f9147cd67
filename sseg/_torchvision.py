"""Make torchvision importable when its compiled operators do not fit the installed torch.

A torchvision wheel built for CUDA cannot load its C++ library beside a CPU build of torch, and then its import stops
at `operator torchvision::nms does not exist`; timm and the MaskFormer of transformers fail with it. Nothing here needs
those operators, so it is enough to declare the two whose schemas torchvision looks up while it is imported.
"""

import importlib
import sys

import torch

OPERATORS = ("nms", "qnms")  # the names that torchvision's import asks torch for
_libraries = []  # a declaration lives only as long as its Library object


def ensure():
    """Import torchvision, declaring the missing operator schemas if that is what it takes.

    Call it before anything imports transformers' vision models or timm; further calls change nothing.

    Returns:
        "native" if torchvision came with working operators, "schema" if it can be imported but `torchvision.ops.nms`
        and `torchvision.io` cannot run, None if it is not installed.
    """
    try:
        torchvision = importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        return None
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        torchvision = _import_with_schemas()
    return "native" if torchvision.extension._has_ops() else "schema"


def _import_with_schemas():
    """Import torchvision once more, with its operators declared but not implemented."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    return importlib.import_module("torchvision")
