"""The command line: python -m sseg segment | pseudo-masks | compare | info."""

import argparse
import json
import sys
from pathlib import Path

from PIL import Image

from sseg.errors import SSegError
from sseg.paths import visible
from sseg.stopping import stoppable

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@stoppable("Stopped; what was written is kept.")
def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 2 after a one-sentence error on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sseg", description="Segment pictures by words.")
    commands = parser.add_subparsers(required=True, metavar="command")

    segment = commands.add_parser("segment", help="find phrases in pictures")
    segment.add_argument("images", nargs="+", metavar="IMAGE", help="picture file")
    segment.add_argument("--phrases", required=True, help='what to find: "a dog, grass, person|man|woman"')
    segment.add_argument("--weights", help="bundled name, folder, or owner/name@revision of the Hub (default: photos "
                         "if bundled, else mini)")
    segment.add_argument("--background", type=float, metavar="S", help="lowest score that counts, 0..1 (default: the "
                         "weights' own)")
    segment.add_argument("--sliding", action="store_true", help="look closer, through overlapping windows; slower")
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    segment.add_argument("--out", type=Path, metavar="DIR", help="write NAME.ids.png, NAME.overlay.png and NAME.json")
    segment.add_argument("--json", action="store_true", help="one JSON object a picture, each on a line of its own")
    segment.set_defaults(run=_segment)

    masks = commands.add_parser("pseudo-masks", help="divide pictures into clusters of alike features")
    masks.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER", help="picture file, or folder of them")
    masks.add_argument("--features", default="auto", help="auto (dino, else mini), dino, mini, encoder, sseg, "
                       "textons, pixels, or a ViT by its name in timm")
    masks.add_argument("--facet", help="kind of the source's features (default: its first)")
    masks.add_argument("--k", type=int, default=8, help="clusters a picture")
    masks.add_argument("--resolution", type=int, default=448, metavar="N", help="a square picture gets (N / 8)^2 cells")
    masks.add_argument("--seed", type=int, default=0, help="of the first centres")
    masks.add_argument("--method", default="kmeans", help="kmeans, or spectral (slow, for comparison)")
    masks.add_argument("--outlines", default="cells", help="cells, or picture: outlines that follow its colours")
    masks.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    masks.add_argument("--truth", type=Path, metavar="MASK", help="PNG of class ids, 255 ignored; for several pictures "
                       "a folder with NAME.png of each")
    masks.add_argument("--out", type=Path, metavar="DIR", help="write NAME.ids.png, NAME.overlay.png and NAME.json of "
                       "each picture, and contact-sheet.png of all")
    masks.add_argument("--json", action="store_true", help="one JSON object a picture, each on a line of its own")
    masks.set_defaults(run=_pseudo_masks)

    compare = commands.add_parser("compare", help="S-Seg beside S-Seg+, or any two weights or lists of words")
    compare.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER", help="picture file, or folder of them")
    compare.add_argument("--weights", help="side A: bundled name, folder, or owner/name@revision (default: photos if "
                         "bundled with its S-Seg+, else mini)")
    compare.add_argument("--plus", help="side B (default: photos-plus or mini-plus)")
    compare.add_argument("--phrases", help="what A is asked for (default: the categories of S-Seg+)")
    compare.add_argument("--plus-phrases", help="what B is asked for (default: the same)")
    compare.add_argument("--background", type=float, default=0.0, metavar="S", help="lowest score that counts, 0..1")
    compare.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    compare.add_argument("--truth", type=Path, metavar="MASK", help="PNG of ids: 0 background, 1 the first category, "
                         "255 not counted; for several pictures a folder with NAME.png of each")
    compare.add_argument("--out", type=Path, metavar="DIR", help="write NAME.a.png, NAME.b.png (ids) and NAME.json of "
                         "each picture, and contact-sheet.png of all")
    compare.add_argument("--json", action="store_true", help="one JSON object a picture, then one for all of them")
    compare.set_defaults(run=_compare)

    info = commands.add_parser("info", help="what weights are")
    info.add_argument("weights", metavar="WEIGHTS", nargs="?", help="default: photos if bundled, else mini")
    info.add_argument("--json", action="store_true", help="as one JSON object")
    info.set_defaults(run=_info)
    return parser


def _segment(options) -> int:
    from sseg import images
    from sseg.loading import load

    if options.out:
        _make_folder(options.out)
    segmenter = load(options.weights, options.device)
    failed, used = 0, set()
    for path in options.images:
        try:
            rgb, full = images.read_sized(path)
            result = segmenter.ask(segmenter.encode(rgb, sliding=options.sliding), options.phrases, options.background)
        except SSegError as error:  # the other pictures are still worth having
            if len(options.images) == 1:
                raise
            print(error, file=sys.stderr)
            failed += 1
            continue
        report = {"image": path, "full_size": list(full), **result.to_json()}
        if options.out:
            _write(options.out, _unused(Path(path).stem, used), rgb, result, report)
        print(json.dumps(report) if options.json else _table(report), flush=True)
    return 2 if failed else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SSegError(f'The folder "{folder}" cannot be made ({error.strerror}): choose another one.') from error


def _unused(stem: str, used: set[str]) -> str:
    """dog, dog-2, dog-3: pictures of the same name in other folders do not overwrite one another."""
    name, count = stem, 1
    while name in used:
        count += 1
        name = f"{stem}-{count}"
    used.add(name)
    return name


def _write(folder: Path, name: str, rgb, result, report: dict) -> None:
    try:
        (folder / f"{name}.ids.png").write_bytes(result.id_png(report["full_size"]))
        Image.fromarray(result.overlay(rgb)).save(folder / f"{name}.overlay.png")
        (folder / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    except OSError as error:
        raise SSegError(f'The results cannot be written to "{folder}" ({error.strerror}).') from error


def _sizes(report: dict) -> str:
    (height, width), (rows, columns) = report["full_size"], report["size"]
    return f"{width} x {height}" + ("" if (rows, columns) == (height, width) else f", worked on at {columns} x {rows}")


def _table(report: dict) -> str:
    lines = [f"{report['image']}  {_sizes(report)}"]
    for row in report["phrases"]:
        score = f"{row['mean_score']:.2f}" if row["area"] else "   -"
        note = "" if row["known"] else "  (the weights have not seen this word)"
        winner = f"  [{row['winner']}]" if row["winner"] != row["phrase"] else ""
        lines.append(f"  {100 * row['area']:5.1f} %  {score}  {row['phrase']}{winner}{note}")
    lines.append(f"  {100 * report['background_area']:5.1f} %        background")
    return "\n".join(lines)


def _pseudo_masks(options) -> int:
    from sseg import images
    from sseg.pseudo_masker import PseudoMasker, check

    how = (options.k, options.seed, options.resolution, options.method, options.outlines)
    check(*how)  # one sentence, not one a picture
    paths = _pictures(options.images)
    _check_truth(options.truth, paths)
    if options.out:
        _make_folder(options.out)
    masker = PseudoMasker(options.features, options.facet, options.device)
    if masker.note:
        print(masker.note, file=sys.stderr)
    failed, used, rows = 0, set(), []
    for path in paths:
        try:
            rgb, full = images.read_sized(path)
            masks = masker(rgb, *how)
            score = masks.against(_mask_of(path, options.truth), full_size=full) if options.truth else None
        except SSegError as error:  # the other pictures are still worth having
            if len(paths) == 1:
                raise
            print(error, file=sys.stderr)
            failed += 1
            continue
        report = {"image": path, "full_size": list(full), **masks.to_json(), **({"truth": score} if score else {})}
        if options.out:
            name = _unused(Path(path).stem, used)
            _write(options.out, name, rgb, masks, report)
            rows.append(_sheet_row(Path(path).name, rgb, masks, score))
        print(json.dumps(report) if options.json else _cluster_table(report), flush=True)
    if rows:
        _write_sheets(options.out, rows, ["picture", "clusters", "features as colours (PCA)"])
    return 2 if failed else 0


def _pictures(paths: list[str]) -> list[str]:
    """The paths, with the picture files of each folder in its place, sorted."""
    found = []
    for path in paths:
        if Path(path).is_dir():
            inside = [str(file) for file in visible(Path(path)) if file.suffix.lower() in PICTURES]
            if not inside:
                raise SSegError(f'There is no picture in the folder "{path}": it needs {", ".join(PICTURES)} files.')
            found += inside
        else:
            found.append(path)
    return found


def _check_truth(truth: Path | None, paths: list[str]) -> None:
    if truth and len(paths) > 1 and not truth.is_dir():
        raise SSegError("One mask cannot be the truth of several pictures: give a folder with NAME.png of each.")


def _mask_of(path: str, truth: Path) -> Path:
    return truth / f"{Path(path).stem}.png" if truth.is_dir() else truth


def _sheet_row(name: str, rgb, masks, score):
    import numpy as np

    from sseg import images, sheets
    from sseg.clusters import enlarge

    size = sheets.fitted(rgb.shape[:2])
    small = np.array(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BOX))
    clusters = images.overlay(small, enlarge(masks.fine, size), images.colors(masks.count), opacity=0.7)
    colours = enlarge(masks.features.pca(), size)
    note = f"{masks.count} clusters, {masks.features.source}"
    if score and score["oracle_miou"] is not None:
        note += f", oracle mIoU {score['oracle_miou']:.1f} %"
    return sheets.Row(name, note, [small, clusters, colours])


def _write_sheets(folder: Path, rows, heads: list[str]) -> None:
    from sseg import sheets

    try:
        for number, page in enumerate(sheets.pages(rows, heads), 1):
            page.save(folder / ("contact-sheet.png" if number == 1 else f"contact-sheet-{number}.png"))
    except OSError as error:
        raise SSegError(f'The contact sheet cannot be written to "{folder}" ({error.strerror}).') from error


def _cluster_table(report: dict) -> str:
    rows, columns = report["grid"]
    lines = [
        f"{report['image']}  {_sizes(report)}, {columns} x {rows} cells",
        f"  {report['features']} ({report['facet']}), {report['method']}, K {report['k']}, seed {report['seed']}",
        f"  cluster  area %  spread  nearest  border %{'  class' if 'truth' in report else ''}",
    ]
    assigned = report["truth"]["assigned"] if "truth" in report else None
    for row in report["clusters"]:
        line = f"  {row['id']:>7}  {100 * row['area']:6.1f}  {row['spread']:6.2f}  {_or_dash(row['nearest']):>7}"
        line += f"  {100 * row['border']:8.1f}"
        lines.append(line + (f"  {_or_dash(assigned[row['id']]):>5}" if assigned else ""))
    return "\n".join(lines + (_truth_lines(report["truth"]) if assigned else []))


def _compare(options) -> int:
    from sseg import checkpoint, comparison, images
    from sseg.loading import load

    first, second = checkpoint.default_pair()
    options.weights = first if options.weights is None else options.weights
    options.plus = second if options.plus is None else options.plus
    paths = _pictures(options.images)
    _check_truth(options.truth, paths)
    if options.out:
        _make_folder(options.out)
    sides = [load(name, options.device) for name in (options.weights, options.plus)]
    asked = _asked(sides, options.phrases, options.plus_phrases)
    failed, used, rows, found = 0, set(), [], []
    for path in paths:
        try:
            rgb, full = images.read_sized(path)
            a, b = (comparison.answer(side, side.encode(rgb), words, options.background)
                    for side, words in zip(sides, asked, strict=True))
            compared = comparison.compare(a, b, _mask_of(path, options.truth) if options.truth else None, full)
        except SSegError as error:  # the other pictures are still worth having
            if len(paths) == 1:
                raise
            print(error, file=sys.stderr)
            failed += 1
            continue
        report = {"image": path, "full_size": list(full), "a": options.weights, "b": options.plus}
        report |= compared.to_json()
        found.append(compared)
        if options.out:
            _write_comparison(options.out, _unused(Path(path).stem, used), a, b, report)
            rows.append(_comparison_row(Path(path).name, rgb, compared))
        print(json.dumps(report) if options.json else _comparison_lines(report), flush=True)
    if rows:
        _write_sheets(options.out, rows, ["picture", options.weights, options.plus, "where they differ"])
    if len(paths) > 1 and found:
        total = comparison.summary(found)
        print(json.dumps(total) if options.json else _summary_lines(total))
    return 2 if failed else 0


def _asked(sides, phrases: str | None, plus_phrases: str | None) -> list:
    """What each side is asked for: what was typed, else the other's words, else the categories that a side has."""
    own = next((list(side.categories) for side in reversed(sides) if hasattr(side, "categories")), None)
    first, second = phrases or plus_phrases or own, plus_phrases or phrases or own
    if first is None:
        raise SSegError('Neither weights have categories of their own: say what to look for, --phrases "dog, grass".')
    return [first, second]


def _comparison_row(name: str, rgb, compared):
    import numpy as np

    from sseg import images, sheets

    size = sheets.fitted(rgb.shape[:2])
    small = np.array(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BOX))
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, rgb.shape[:2], strict=True))
    palette = images.colors(len(compared.categories))
    a, b = (images.overlay(small, side[rows[:, None], columns], palette, 0.7) for side in (compared.a, compared.b))
    differ = np.where(compared.disagreement[rows[:, None], columns], np.int32(0), np.int32(-1))
    note, miou = f"agreement {100 * compared.agreement:.1f} %", compared.miou()
    if miou and miou["a"] is not None:
        note += f", mIoU {100 * miou['a']:.1f} and {100 * miou['b']:.1f} %"
    differing = images.overlay(small, differ, np.array([[220, 60, 60]], np.uint8), 0.7)
    return sheets.Row(name, note, [small, a, b, differing])


def _write_comparison(folder: Path, name: str, a, b, report: dict) -> None:
    try:
        for side, answer in (("a", a), ("b", b)):
            (folder / f"{name}.{side}.png").write_bytes(answer.id_png(report["full_size"]))
        (folder / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    except OSError as error:
        raise SSegError(f'The results cannot be written to "{folder}" ({error.strerror}).') from error


def _comparison_lines(report: dict) -> str:
    lines = [f"{report['image']}  agreement {100 * report['agreement']:.1f} %, "
             f"outlines {100 * report['boundary_agreement']:.1f} %"]
    for flip in report["flips"][:5]:
        came, went = (flip[key] or "background" for key in ("from", "to"))
        share, area = 100 * flip["share_of_from"], 100 * flip["area"]
        lines.append(f"  {share:5.1f} % of {came} became {went} ({area:.1f} % of the picture)")
    return "\n".join(lines + _miou_lines(report))


def _miou_lines(report: dict) -> list[str]:
    miou = report["miou"]
    if not miou or miou["a"] is None:
        return []
    line = f"  mIoU {100 * miou['a']:.2f} and {100 * miou['b']:.2f} %, mended {100 * report['mended']:.1f} %, "
    return [line + f"broken {100 * report['broken']:.1f} % of the pixels"]


def _summary_lines(total: dict) -> str:
    line = f"{total['pictures']} pictures: agreement {100 * total['agreement']:.1f} %, "
    return "\n".join([f"{line}outlines {100 * total['boundary_agreement']:.1f} %", *_miou_lines(total)])


def _or_dash(value) -> str:
    return "-" if value is None else str(value)


def _truth_lines(score: dict) -> list[str]:
    if score["oracle_miou"] is None:
        return ["  all pixels of the mask are ignored"]
    lines = [f"  oracle mIoU {score['oracle_miou']:.2f} %, pixel accuracy {score['pixel_accuracy']:.2f} %"]
    return lines + [f"    class {one['name']:<12} IoU {one['iou']:6.2f} %  area {100 * one['area']:5.1f} %"
                    for one in score["classes"]]


def _info(options) -> int:
    from sseg.loading import load

    info = load(options.weights, "cpu").info()
    if options.json:
        print(json.dumps(info))
    else:
        for key, value in info.items():
            print(f"{key.replace('_', ' '):<16} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
