"""S-Seg: segment anything that can be named, learned from pictures and their captions alone.

    import sseg
    result = sseg.load("photos")("photo.jpg", ["dog", "grass"])
"""

from sseg import _torchvision

_torchvision.ensure()  # before anything imports transformers' vision models or timm

from importlib import import_module  # noqa: E402

__version__ = "0.1.0"

_PUBLIC = {  # name -> module: imported when first asked for, so that `import sseg` stays light
    "load": "sseg.loading",
    "Segmenter": "sseg.segmenter",
    "Segmentation": "sseg.segmentation",
    "SelfTrainedSegmenter": "sseg.fixed_vocabulary",
    "Comparison": "sseg.comparison",
    "PseudoMasker": "sseg.pseudo_masks.masker",
    "SSegError": "sseg.errors",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sseg' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted(__all__)
