"""`sseg compare`: two weights, or two lists of words, on the same images."""

import json
from pathlib import Path

from PIL import Image

from sseg.cli.output import Batch, check_truth, images_of, make_folder, mask_of, unused, write_sheets
from sseg.errors import SSegError


def add(commands) -> None:
    """Add the command to the parser."""
    compare = commands.add_parser("compare", help="S-Seg beside S-Seg+, or any two weights or lists of words")
    compare.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER", help="picture file, or folder of them")
    compare.add_argument(
        "--weights",
        help="side A: bundled name, folder, or owner/name@revision (default: photos if "
        "bundled with its S-Seg+, else mini)",
    )
    compare.add_argument("--plus", help="side B (default: photos-plus or mini-plus)")
    compare.add_argument("--phrases", help="what A is asked for (default: the categories of S-Seg+)")
    compare.add_argument("--plus-phrases", help="what B is asked for (default: the same)")
    compare.add_argument("--background", type=float, default=0.0, metavar="S", help="lowest score that counts, 0..1")
    compare.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    compare.add_argument(
        "--truth",
        type=Path,
        metavar="MASK",
        help="PNG of ids: 0 background, 1 the first category, "
        "255 not counted; for several pictures a folder with NAME.png of each",
    )
    compare.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write NAME.a.png, NAME.b.png (ids) and NAME.json of each picture, and contact-sheet.png of all",
    )
    compare.add_argument("--json", action="store_true", help="one JSON object a picture, then one for all of them")
    compare.set_defaults(run=run)


def run(options) -> int:
    from sseg import checkpoint, comparison, images
    from sseg.loading import load

    first, second = checkpoint.default_pair()
    options.weights = first if options.weights is None else options.weights
    options.plus = second if options.plus is None else options.plus
    paths = images_of(options.images)
    check_truth(options.truth, paths)
    if options.out:
        make_folder(options.out)
    sides = [load(name, options.device) for name in (options.weights, options.plus)]
    asked = _asked(sides, options.phrases, options.plus_phrases)
    batch, used, rows, found = Batch(paths), set(), [], []

    def both(path):
        rgb, full = images.read_sized(path)
        a, b = (
            comparison.answer(side, side.encode(rgb), words, options.background)
            for side, words in zip(sides, asked, strict=True)
        )
        return rgb, full, a, b, comparison.compare(a, b, mask_of(path, options.truth) if options.truth else None, full)

    for path, (rgb, full, a, b, compared) in batch.each(both):
        report = {"image": path, "full_size": list(full), "a": options.weights, "b": options.plus}
        report |= compared.to_json()
        found.append(compared)
        if options.out:
            _write_comparison(options.out, unused(Path(path).stem, used), a, b, report)
            rows.append(_comparison_row(Path(path).name, rgb, compared))
        print(json.dumps(report) if options.json else _comparison_lines(report), flush=True)
    if rows:
        write_sheets(options.out, rows, ["picture", options.weights, options.plus, "where they differ"])
    if len(paths) > 1 and found:
        total = comparison.summary(found)
        print(json.dumps(total) if options.json else _summary_lines(total))
    return 2 if batch.failed else 0


def _asked(sides, phrases: str | None, plus_phrases: str | None) -> list:
    """What each side is asked for: what was typed, else the other's words, else the categories that a side has."""
    own = next((side.categories for side in reversed(sides) if side.categories), None)
    first, second = phrases or plus_phrases or own, plus_phrases or phrases or own
    if first is None:
        raise SSegError('Neither weights have categories of their own: say what to look for, --phrases "dog, grass".')
    return [first, second]


def _comparison_row(name: str, rgb, compared):
    import numpy as np

    from sseg import images
    from sseg.cli import sheets

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
    lines = [
        f"{report['image']}  agreement {100 * report['agreement']:.1f} %, "
        f"outlines {100 * report['boundary_agreement']:.1f} %"
    ]
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
