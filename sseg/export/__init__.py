"""An answer in the formats that other programs read: pure functions of labels, no files and no weights."""

from sseg.export.archive import answer_zip
from sseg.export.coco import coco_entry, coco_json
from sseg.export.cut_out import cut_out
from sseg.export.legend import overlay_with_legend
from sseg.export.palette import palette_png
from sseg.export.yolo import yolo_data, yolo_labels

__all__ = [
    "answer_zip",
    "coco_entry",
    "coco_json",
    "cut_out",
    "overlay_with_legend",
    "palette_png",
    "yolo_data",
    "yolo_labels",
]
