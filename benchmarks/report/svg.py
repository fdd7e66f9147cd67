"""SVG by hand: shapes and text in the colours of a light and of a dark page, the same bytes on every machine."""

from dataclasses import dataclass
from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours of a page; `series` are told apart by lightness as well, for those who see fewer colours."""

    name: str
    text: str
    quiet: str
    line: str
    arrow: str
    panel: str
    accent: str
    mark: str
    series: tuple[str, str, str]


# name, text, quiet, line, arrow, panel, accent, mark, series
LIGHT = Theme(
    "light",
    "#1f2430",
    "#5a6172",
    "#d5d9e4",
    "#8a91a5",
    "#f4f6fb",
    "#3a48c4",
    "#b8500f",
    ("#c5cbe3", "#8794dd", "#3a48c4"),
)
DARK = Theme(
    "dark",
    "#e8ebf4",
    "#a7aec0",
    "#3a4154",
    "#7d859b",
    "#1d2230",
    "#a5b0ff",
    "#ff9d5c",
    ("#4d567d", "#7f8de8", "#c3cbff"),
)
THEMES = (LIGHT, DARK)


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """The file; the title is what a screen reader says."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="{FONT}">\n<title>{escape(title)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, colour: str, size: float = 13, anchor: str = "start", style: str = "") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="{size:g}" text-anchor="{anchor}"'
        f"{' ' + style if style else ''}>{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str = "none", radius: float = 0) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}" '
        f'stroke="{stroke}"/>'
    )


def line(
    points: list[tuple[float, float]], colour: str, width: float = 1.5, arrow: bool = False, dash: str = ""
) -> str:
    """Straight pieces through the points; an arrow's head lies at the last one."""
    way = " ".join(f"{x:g},{y:g}" for x, y in points)
    parts = [
        f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width:g}"'
        f"{f' stroke-dasharray={dash!r}' if dash else ''}/>".replace("'", '"')
    ]
    if arrow:
        (x0, y0), (x, y) = points[-2:]
        dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
        side = (-dy, dx)
        head = [(x, y), (x - 9 * dx + 4.5 * side[0], y - 9 * dy + 4.5 * side[1])]
        head.append((x - 9 * dx - 4.5 * side[0], y - 9 * dy - 4.5 * side[1]))
        parts.append(f'<polygon points="{" ".join(f"{a:g},{b:g}" for a, b in head)}" fill="{colour}"/>')
    return "\n".join(parts)
