"""PASCAL VOC 2012 segmentation, in its official layout.

    ROOT/VOC2012/JPEGImages/NAME.jpg, SegmentationClass/NAME.png, ImageSets/Segmentation/{train,val}.txt

`voc`: 21 classes, background one of them, 1,449 photographs; `voc20`: without the background, whose pixels then count
nowhere (mmsegmentation's reduce_zero_label). `voc-mini`: a part of the 1,449, those with a cat, cow, dog, horse or
sheep; its figures do not compare with those of the whole set. Masks are palette PNG whose indices are the ids.
"""

from sseg.errors import SSegError
from train.evaluation.datasets.photographs import PhotographBenchmark, check_count, folder_of, year_of

CLASSES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow dining_table dog horse motorbike person "
    "potted_plant sheep sofa train tv_monitor"
)
CLASSES = [name.replace("_", " ") for name in CLASSES.split()]
MAIN = ("background", "cat", "cow", "dog", "horse", "person", "sheep")  # enough photographs in voc-mini
BORDER = 255
SOURCE = "host.robots.ox.ac.uk/pascal/VOC/voc2012"
COUNTS = {"val": (1449,), "train": (1464,)}


def open_voc(name: str = "voc-mini", root=None, limit=None, split="val", partial=False) -> PhotographBenchmark:
    """The photographs of val.txt (or train.txt). SSegError if the root, the year, the list or a part is missing."""
    folder = year_of(name, folder_of(name, name.removesuffix("20"), root), "VOC2012", ("VOC2010", "VOC2007"), SOURCE)
    listing = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not listing.is_file():
        raise SSegError(f"{listing} is missing: --root must hold VOC2012 in its official layout.")
    names = listing.read_text(encoding="utf-8").split()
    pairs = [(folder / "JPEGImages" / f"{n}.jpg", folder / "SegmentationClass" / f"{n}.png") for n in names]
    if name == "voc-mini":
        groups = {"main": [CLASSES.index(one) for one in MAIN]}
        return PhotographBenchmark(name, pairs, CLASSES, range(len(CLASSES)), [BORDER], groups, limit)
    check_count(name, len(pairs), COUNTS[split], partial, SOURCE)
    classes, ignored = (CLASSES[1:], [0, BORDER]) if name == "voc20" else (CLASSES, [BORDER])
    first = len(CLASSES) - len(classes)
    return PhotographBenchmark(name, pairs, classes, range(first, len(CLASSES)), ignored, None, limit)
