"""The figure of the method: its four steps, with one scene as the bundled weights see it."""

import base64
from pathlib import Path

from benchmarks.report import svg

WIDTH, HEIGHT, SIDE = 1040, 520, 116
TOP, MIDDLE, BOTTOM = 112, 262, 412  # of the three lanes


def draw(theme: svg.Theme, thumbnails: Path) -> str:
    """The figure; `thumbnails` holds image.jpg, clusters.jpg, masks.jpg and answer.jpg (`thumbnails.py` makes them)."""
    parts = [
        svg.box(8, 8, 716, HEIGHT - 16, theme.panel, radius=12),
        svg.box(740, 8, WIDTH - 748, HEIGHT - 16, theme.panel, radius=12),
        svg.text(
            28, 38, "Training: images and their captions, nothing else", theme.text, 16, style='font-weight="600"'
        ),
        svg.text(760, 38, "Use", theme.text, 16, style='font-weight="600"'),
        thumbnail(thumbnails / "image.jpg", 28, MIDDLE - SIDE / 2),
        svg.text(28, MIDDLE + SIDE / 2 + 22, "image", theme.quiet, 13),
        *pseudo_masks(theme, thumbnails),
        *masks(theme, thumbnails),
        *meaning(theme),
        *use(theme, thumbnails),
    ]
    return svg.picture(WIDTH, HEIGHT, "The four steps of S-Seg: pseudo-masks, masks, meaning, use", parts)


def pseudo_masks(theme: svg.Theme, thumbnails: Path) -> list[str]:
    return [
        *lane(theme, TOP, "1", "Pseudo-masks", "features, K-Means", [(86, MIDDLE - SIDE / 2), (86, TOP), (172, TOP)]),
        arrow(theme, (352, TOP), (384, TOP)),
        thumbnail(thumbnails / "clusters.jpg", 388, TOP - SIDE / 2),
        svg.text(514, TOP - 34, "K clusters:", theme.quiet, 13),
        svg.text(514, TOP - 16, "where something is", theme.quiet, 13),
        arrow(theme, (508, TOP), (614, TOP), (614, 158)),
    ]


def masks(theme: svg.Theme, thumbnails: Path) -> list[str]:
    return [
        *lane(theme, MIDDLE, "2", "Masks", "MaskFormer", [(148, MIDDLE), (172, MIDDLE)]),
        arrow(theme, (352, MIDDLE), (384, MIDDLE)),
        thumbnail(thumbnails / "masks.jpg", 388, MIDDLE - SIDE / 2),
        svg.text(514, MIDDLE - 6, "N masks and", theme.quiet, 13),
        svg.text(514, MIDDLE + 12, "N embeddings", theme.quiet, 13),
        arrow(theme, (614, MIDDLE - 18), (614, 216)),
        *loss(theme, 186, "shape loss", "match, dice + focal"),
    ]


def meaning(theme: svg.Theme) -> list[str]:
    return [
        *italic(theme, 28, BOTTOM - 14, "“a frog and a", "pig by water on", "a tiled floor”"),
        svg.text(28, BOTTOM + 46, "caption", theme.quiet, 13),
        *lane(theme, BOTTOM, "3", "Meaning", "text transformer", [(140, BOTTOM), (172, BOTTOM)]),
        arrow(theme, (352, BOTTOM), (384, BOTTOM)),
        *embedding(theme, 392, BOTTOM),
        svg.text(514, BOTTOM + 34, "embeddings of the caption", theme.quiet, 13),
        svg.text(514, BOTTOM + 52, "and of its phrases", theme.quiet, 13),
        arrow(theme, (508, BOTTOM), (614, BOTTOM), (614, 366)),
        arrow(theme, (614, MIDDLE + 24), (614, 308)),
        *loss(theme, 337, "meaning loss", "contrastive"),
    ]


def use(theme: svg.Theme, thumbnails: Path) -> list[str]:
    side = 176
    return [
        *italic(theme, 760, 84, "“frog, pig, water, tiled floor”"),
        svg.text(760, 104, "any words, read by the text transformer", theme.quiet, 12.5),
        arrow(theme, (884, 114), (884, 138)),
        *step(theme, 770, 168, 228, "4", "Scores", "N masks x words"),
        svg.text(884, 212, "each pixel adds up over masks how", theme.quiet, 12.5, "middle"),
        svg.text(884, 229, "well their embeddings fit a word", theme.quiet, 12.5, "middle"),
        arrow(theme, (884, 240), (884, 264)),
        thumbnail(thumbnails / "answer.jpg", 796, 272, side),
        svg.text(884, 470, "a label for every pixel", theme.quiet, 13, "middle"),
    ]


def lane(theme: svg.Theme, y: float, number: str, name: str, how: str, way: list[tuple[float, float]]) -> list[str]:
    """A step of training: an arrow into it, its number, name and what does it."""
    return [arrow(theme, *way), *step(theme, 176, y, 172, number, name, how)]


def step(theme: svg.Theme, x: float, y: float, width: float, number: str, name: str, how: str) -> list[str]:
    return [
        svg.box(x, y - 28, width, 56, "none", theme.accent, 10),
        f'<circle cx="{x + 22:g}" cy="{y:g}" r="12" fill="{theme.accent}"/>',
        svg.text(x + 22, y + 4.8, number, theme.panel, 13.5, "middle", 'font-weight="700"'),
        svg.text(x + 42, y - 4, name, theme.text, 14, style='font-weight="600"'),
        svg.text(x + 42, y + 14, how, theme.quiet, 12.5),
    ]


def arrow(theme: svg.Theme, *points: tuple[float, float]) -> str:
    return svg.line(list(points), theme.arrow, 1.8, arrow=True)


def italic(theme: svg.Theme, x: float, y: float, *lines: str) -> list[str]:
    return [
        svg.text(x, y + 18 * i, words, theme.text, 13, style='font-style="italic"') for i, words in enumerate(lines)
    ]


def loss(theme: svg.Theme, y: float, name: str, how: str) -> list[str]:
    return [
        svg.box(548, y - 26, 156, 50, "none", theme.mark, 25),
        svg.text(626, y - 4, name, theme.text, 13.5, "middle", 'font-weight="600"'),
        svg.text(626, y + 13, how, theme.quiet, 12.5, "middle"),
    ]


def embedding(theme: svg.Theme, x: float, y: float) -> list[str]:
    """Rows of squares of different strength: a vector for the caption and for each phrase."""
    strengths = ((0.9, 0.35, 0.6, 0.2, 0.75, 0.5), (0.25, 0.8, 0.45, 0.9, 0.3, 0.65), (0.6, 0.2, 0.85, 0.4, 0.55, 0.95))
    return [
        f'<rect x="{x + 18 * i:g}" y="{y - 27 + 19 * j:g}" width="16" height="16" rx="3" fill="{theme.accent}" '
        f'opacity="{strength:g}"/>'
        for j, row in enumerate(strengths)
        for i, strength in enumerate(row)
    ]


def thumbnail(path: Path, x: float, y: float, side: float = SIDE) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<image x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" href="data:image/jpeg;base64,{data}"/>'
