"""S-Seg: segment anything that can be named, learned from pictures and their captions alone.

import sseg
result = sseg.load("photos")("photo.jpg", ["dog", "grass"])
"""

from importlib import import_module
from typing import TYPE_CHECKING

from sseg import _torchvision

if TYPE_CHECKING:  # for editors and type checkers; at run time `__getattr__` imports what is asked for
    from sseg.comparison import Comparison
    from sseg.errors import SSegError
    from sseg.fixed_vocabulary import FixedVocabularySegmenter
    from sseg.loading import load
    from sseg.open_vocabulary import OpenVocabularySegmenter
    from sseg.pseudo_masks.masker import PseudoMasker
    from sseg.segmentation import Segmentation
    from sseg.segmenter import Segmenter

__version__ = "0.1.0"  # pyproject.toml reads it here
__all__ = [
    "Comparison",
    "FixedVocabularySegmenter",
    "OpenVocabularySegmenter",
    "PseudoMasker",
    "SSegError",
    "Segmentation",
    "Segmenter",
    "__version__",
    "load",
]

_torchvision.mend_when_imported()  # by whoever is first: transformers' vision models, timm, or a program of its own

_MODULES = {  # name -> where it is: imported when first asked for, since torch and transformers take seconds
    "Comparison": "sseg.comparison",
    "FixedVocabularySegmenter": "sseg.fixed_vocabulary",
    "OpenVocabularySegmenter": "sseg.open_vocabulary",
    "PseudoMasker": "sseg.pseudo_masks.masker",
    "SSegError": "sseg.errors",
    "Segmentation": "sseg.segmentation",
    "Segmenter": "sseg.segmenter",
    "load": "sseg.loading",
}


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module 'sseg' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
