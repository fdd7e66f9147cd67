"""The figures of docs/results.md: bars in groups, from measured rows."""

from dataclasses import dataclass, field

from benchmarks.report import svg
from benchmarks.report.rows import Row

WIDTH, LEFT, RIGHT, BAR, BETWEEN = 860, 268, 60, 13, 17
MOST = 100  # per cent, the right end of the axis


PHOTOGRAPHS = {  # title -> end of the id, aim, whether mini-photos was measured
    "voc-mini, with background": ("voc-mini/all", 33, True),
    "voc-mini, six classes and background": ("voc-mini/main", 50, True),
    "voc-mini, classes present": ("voc-mini/present", 77, True),
    "coco-mini, with background": ("coco-mini/all", 15, True),
    "coco-mini, classes present": ("coco-mini/present", 45, True),
    "places-mini, all 50 names": ("places-mini/all", 15, True),
    "places-mini, names present": ("places-mini/present", 26, True),
    "pointing game, %": ("pointing", 70, True),
    "first try, found, %": ("first-try/found", 45, False),
    "unseen synonyms, %": ("synonyms", 70, False),
}


@dataclass(frozen=True)
class Chart:
    """Groups of bars: title of a group -> a row's id for each series, None where nothing was measured."""

    title: str
    series: tuple[str, ...]
    groups: dict[str, tuple[str | None, ...]]
    aims: dict[str, float] = field(default_factory=dict)  # title of a group -> what was aimed at


CHARTS = {
    "photographs": Chart(
        "Photographs: mini-photos, the second run and photos",
        ("mini-photos, before", "after the second run", "photos"),
        {
            title: (f"mini-photos/{end}" if known else None, f"photos-second/{end}", f"photos/{end}")
            for title, (end, _, known) in PHOTOGRAPHS.items()
        },
        {title: aim for title, (_, aim, _) in PHOTOGRAPHS.items()},
    ),
    "self-training": Chart(
        "S-Seg beside S-Seg+",
        ("S-Seg, the teacher", "S-Seg+"),
        {
            "scenes: stickers-target": ("mini/stickers-target/miou", "mini-plus/stickers-target/miou"),
            "of it 60 things": ("mini/stickers-target/things", "mini-plus/stickers-target/things"),
            "of it 20 materials": ("mini/stickers-target/materials", "mini-plus/stickers-target/materials"),
            "photographs: voc-mini": ("target/photos/voc-mini/miou", "target/photos-plus/voc-mini/miou"),
            "of it six classes and background": ("target/photos/voc-mini/main", "target/photos-plus/voc-mini/main"),
            "photographs: places-mini": ("target/photos/places-mini/miou", "target/photos-plus/places-mini/miou"),
        },
    ),
    "pseudo-masks": Chart(
        "Pseudo-masks: oracle mIoU by features, K = 8",
        ("pixels", "textons", "mini"),
        {
            name: (f"pixels/oracle/{name}", f"textons/oracle/{name}", f"mini/oracle/{name}")
            for name in ("voc-mini", "coco-mini", "coco-mini-stuff", "stickers")
        },
    ),
}


def draw(chart: Chart, rows: dict[str, Row], theme: svg.Theme) -> str:
    """The chart as an SVG file's text."""
    colours = theme.series[-len(chart.series) :]
    step = BAR * len(chart.series) + BETWEEN
    top, scale = 46, (WIDTH - LEFT - RIGHT) / MOST
    height = top + step * len(chart.groups) + 26
    bottom = height - 30
    parts, x = [], LEFT
    for name, colour in zip(chart.series, colours, strict=True):
        parts += [svg.box(x, 12, 12, 12, colour, radius=2), svg.text(x + 18, 22.5, name, theme.text)]
        x += 44 + 7.2 * len(name)
    if chart.aims:
        parts += [mark(theme, x + 6, 22), svg.text(x + 18, 22.5, "aim", theme.text)]
    for tick in range(0, MOST + 1, 20):
        at = LEFT + tick * scale
        parts += [svg.line([(at, top - 8), (at, bottom)], theme.line, 1)]
        parts += [svg.text(at, height - 10, str(tick), theme.quiet, 11.5, "middle")]
    for i, (title, ids) in enumerate(chart.groups.items()):
        y = top + i * step
        middle = y + BAR * len(ids) / 2
        parts.append(svg.text(LEFT - 12, middle + 4.5, title, theme.text, 13, "end"))
        for j, (id, colour) in enumerate(zip(ids, colours, strict=True)):
            at = y + j * BAR
            if id is None:
                parts.append(svg.text(LEFT + 6, at + 10, "not measured", theme.quiet, 10.5))
                continue
            length = rows[id].value * scale
            parts.append(svg.box(LEFT, at + 0.75, length, BAR - 1.5, colour))
            parts.append(svg.text(LEFT + length + 6, at + 10.5, f"{rows[id].value:.1f}", theme.quiet, 11))
        if title in chart.aims:
            at = LEFT + chart.aims[title] * scale
            parts.append(mark(theme, at, y))
    return svg.picture(WIDTH, height, chart.title, parts)


def mark(theme: svg.Theme, x: float, y: float) -> str:
    """A triangle that points down to (x, y): what was aimed at."""
    return f'<polygon points="{x:g},{y:g} {x - 4.5:g},{y - 8:g} {x + 4.5:g},{y - 8:g}" fill="{theme.mark}"/>'
