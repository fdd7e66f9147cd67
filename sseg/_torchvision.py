"""Make torchvision importable when its compiled operators do not fit the installed torch.

A torchvision wheel built for CUDA cannot load its C++ library beside a CPU build of torch, and then its import stops
at `operator torchvision::nms does not exist`; timm and the MaskFormer of transformers fail with it. Nothing here needs
those operators, so it is enough to declare the two whose schemas torchvision looks up while it is imported.

torchvision takes seconds to import, so nothing imports it in advance: a finder on `sys.meta_path` waits for whoever
does so first.
"""

import sys
from importlib.machinery import PathFinder, SourceFileLoader

OPERATORS = ("nms", "qnms")  # the names that torchvision's import asks torch for
_libraries: list = []  # a declaration lives only as long as its Library object


class _Finder:
    """Finds torchvision where Python itself would, and nothing else."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name) if name == "torchvision" else None
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Runs torchvision's code, and once more with the operators declared if it stops for want of them."""

    def exec_module(self, module):
        try:
            super().exec_module(module)
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            for part in [name for name in sys.modules if name.startswith("torchvision.")]:
                del sys.modules[part]
            _declare()
            super().exec_module(module)


def mend_when_imported() -> None:
    """Have torchvision mended when it is first imported, by whomever; further calls change nothing.

    Where its operators work, or where it is not installed, its import goes as it always does. Mended, it can be
    imported, but `torchvision.ops.nms` and `torchvision.io` cannot run.
    """
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def _declare() -> None:
    """Give torch the operators' schemas; they are not implemented."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
