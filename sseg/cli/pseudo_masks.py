"""`sseg pseudo-masks`: divide images into clusters of alike features."""

import json
import sys
from pathlib import Path

from PIL import Image

from sseg.cli.output import Batch, check_truth, images_of, make_folder, mask_of, sizes, unused, write, write_sheets


def add(commands) -> None:
    """Add the command to the parser."""
    masks = commands.add_parser("pseudo-masks", help="divide pictures into clusters of alike features")
    masks.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER", help="picture file, or folder of them")
    masks.add_argument(
        "--features",
        default="auto",
        help="auto (dino, else mini), dino, mini, encoder, sseg, textons, pixels, or a ViT by its name in timm",
    )
    masks.add_argument("--facet", help="kind of the source's features (default: its first)")
    masks.add_argument("--k", type=int, default=8, help="clusters a picture")
    masks.add_argument("--resolution", type=int, default=448, metavar="N", help="a square picture gets (N / 8)^2 cells")
    masks.add_argument("--seed", type=int, default=0, help="of the first centres")
    masks.add_argument("--method", default="kmeans", help="kmeans, or spectral (slow, for comparison)")
    masks.add_argument("--outlines", default="cells", help="cells, or picture: outlines that follow its colours")
    masks.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    masks.add_argument(
        "--truth",
        type=Path,
        metavar="MASK",
        help="PNG of class ids, 255 ignored; for several pictures a folder with NAME.png of each",
    )
    masks.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write NAME.ids.png, NAME.overlay.png and NAME.json of each picture, and contact-sheet.png of all",
    )
    masks.add_argument("--json", action="store_true", help="one JSON object a picture, each on a line of its own")
    masks.set_defaults(run=run)


def run(options) -> int:
    from sseg import images
    from sseg.pseudo_masks.masker import PseudoMasker, check

    how = (options.k, options.seed, options.resolution, options.method, options.outlines)
    check(*how)  # one sentence, not one a picture
    paths = images_of(options.images)
    check_truth(options.truth, paths)
    if options.out:
        make_folder(options.out)
    masker = PseudoMasker(options.features, options.facet, options.device)
    if masker.note:
        print(masker.note, file=sys.stderr)
    batch, used, rows = Batch(paths), set(), []

    def divided(path):
        rgb, full = images.read_sized(path)
        masks = masker(rgb, *how)
        score = masks.against(mask_of(path, options.truth), full_size=full) if options.truth else None
        return rgb, full, masks, score

    for path, (rgb, full, masks, score) in batch.each(divided):
        report = {"image": path, "full_size": list(full), **masks.to_json(), **({"truth": score} if score else {})}
        if options.out:
            name = unused(Path(path).stem, used)
            write(options.out, name, rgb, masks, report)
            rows.append(_sheet_row(Path(path).name, rgb, masks, score))
        print(json.dumps(report) if options.json else _cluster_table(report), flush=True)
    if rows:
        write_sheets(options.out, rows, ["picture", "clusters", "features as colours (PCA)"])
    return 2 if batch.failed else 0


def _sheet_row(name: str, rgb, masks, score):
    import numpy as np

    from sseg import images
    from sseg.cli import sheets
    from sseg.pseudo_masks.result import enlarge

    size = sheets.fitted(rgb.shape[:2])
    small = np.array(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BOX))
    clusters = images.overlay(small, enlarge(masks.fine, size), images.colors(masks.count), opacity=0.7)
    colours = enlarge(masks.features.pca(), size)
    note = f"{masks.count} clusters, {masks.features.source}"
    if score and score["oracle_miou"] is not None:
        note += f", oracle mIoU {score['oracle_miou']:.1f} %"
    return sheets.Row(name, note, [small, clusters, colours])


def _cluster_table(report: dict) -> str:
    rows, columns = report["grid"]
    lines = [
        f"{report['image']}  {sizes(report)}, {columns} x {rows} cells",
        f"  {report['features']} ({report['facet']}), {report['method']}, K {report['k']}, seed {report['seed']}",
        f"  cluster  area %  spread  nearest  border %{'  class' if 'truth' in report else ''}",
    ]
    assigned = report["truth"]["assigned"] if "truth" in report else None
    for row in report["clusters"]:
        line = f"  {row['id']:>7}  {100 * row['area']:6.1f}  {row['spread']:6.2f}  {_or_dash(row['nearest']):>7}"
        line += f"  {100 * row['border']:8.1f}"
        lines.append(line + (f"  {_or_dash(assigned[row['id']]):>5}" if assigned else ""))
    return "\n".join(lines + (_truth_lines(report["truth"]) if assigned else []))


def _or_dash(value) -> str:
    return "-" if value is None else str(value)


def _truth_lines(score: dict) -> list[str]:
    if score["oracle_miou"] is None:
        return ["  all pixels of the mask are ignored"]
    lines = [f"  oracle mIoU {score['oracle_miou']:.2f} %, pixel accuracy {score['pixel_accuracy']:.2f} %"]
    return lines + [
        f"    class {one['name']:<12} IoU {one['iou']:6.2f} %  area {100 * one['area']:5.1f} %"
        for one in score["classes"]
    ]
