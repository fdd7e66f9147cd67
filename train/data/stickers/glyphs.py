"""The vocabulary of the sticker world and the pictures of its things.

Things are glyphs of Noto Color Emoji, drawn once into an atlas; materials are names only, their textures are made
by `materials`. Names and synonyms come from `assets/stickers.json` and exclude each other: no phrase
stands for two entries.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from sseg.errors import SSegError
from sseg.paths import ASSETS

VOCABULARY = ASSETS / "stickers.json"
FONT_PLACES = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    "/usr/local/share/fonts/NotoColorEmoji.ttf",
    "~/.local/share/fonts/NotoColorEmoji.ttf",
    "~/.fonts/NotoColorEmoji.ttf",
)
STRIKE = 109  # pixels: the only bitmap size that the font holds
VISIBLE = 16  # alpha (of 255) from which a pixel counts as part of the glyph
EMOJI_STYLE = "\ufe0f"  # asks for the colour form of a character; the colour font knows no other
ABSENT = "\U0010fffe"  # a code point that no font draws: shows what a missing glyph looks like


@dataclass(frozen=True)
class Thing:
    """A named glyph; every synonym is as true a name as `name`."""

    glyph: str
    name: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """A named kind of background."""

    name: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)  # equal by identity only, which makes it a cheap key of caches
class Vocabulary:
    """Everything that the sticker world can show, in a fixed order."""

    things: tuple[Thing, ...]
    materials: tuple[Material, ...]

    def phrases(self) -> list[str]:
        """The names of all things, then those of all materials: the classes of the benchmarks."""
        return [entry.name for entry in (*self.things, *self.materials)]


def load_vocabulary(path: str | Path | None = None) -> Vocabulary:
    """Read `assets/stickers.json` (or another file of that form).

    Raises SSegError when the file is missing, not of that form, or when one phrase names two entries.
    """
    path = Path(path or VOCABULARY)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        things = tuple(Thing(t["glyph"], t["name"], tuple(t["synonyms"])) for t in raw["things"])
        materials = tuple(Material(m["name"], tuple(m["synonyms"])) for m in raw["materials"])
    except OSError as error:
        raise SSegError(
            f"Cannot read the vocabulary {path} ({error.strerror}); give the path of a stickers.json."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SSegError(
            f"The vocabulary {path} is not of the form of assets/stickers.json ({error!r}); repair it."
        ) from error
    seen = set()
    for entry in (*things, *materials):
        for phrase in (entry.name, *entry.synonyms):
            if phrase in seen:
                raise SSegError(f'"{phrase}" stands twice in the vocabulary {path}; keep it for one entry only.')
            seen.add(phrase)
    return Vocabulary(things, materials)


def find_font(font: str | Path | None = None) -> Path:
    """The emoji font: the argument, else SSEG_EMOJI_FONT, else the usual places. Raises SSegError without one."""
    named = font or os.environ.get("SSEG_EMOJI_FONT")
    for place in [named] if named else FONT_PLACES:
        place = Path(place).expanduser()
        if place.is_file():
            return place
    raise SSegError(
        f"The emoji font {named or 'NotoColorEmoji.ttf'} was not found; install the Debian package "
        "fonts-noto-color-emoji or set SSEG_EMOJI_FONT to the font file."
    )


def atlas(font: str | Path | None = None, size: int = 128, vocabulary: Vocabulary | None = None) -> torch.Tensor:
    """Pictures of all things: uint8 (T, 4, size, size), straight (not premultiplied) RGBA.

    Each glyph is cropped to what is visible of it, its longer side fills the cell but for one pixel on either side,
    and it is centred. Transparent pixels carry the colour of the nearest visible one, so that bilinear sampling and
    mip maps pull no black fringe in. `font` may also be an `.npz` file written by `save_atlas`, for machines without
    fonts. Raises SSegError without a font, or naming the first thing that is not in it.
    """
    vocabulary = vocabulary or load_vocabulary()
    if font is not None and Path(font).suffix == ".npz":
        return _load_atlas(Path(font), size, vocabulary)
    path = find_font(font)
    try:
        face = ImageFont.truetype(str(path), STRIKE)
    except OSError as error:
        raise SSegError(
            f"{path} cannot be used as the emoji font ({error}); use Debian's NotoColorEmoji.ttf."
        ) from error
    missing = _draw(face, ABSENT)
    cells = []
    for thing in vocabulary.things:
        drawn = _draw(face, thing.glyph)
        if np.array_equal(drawn, missing) or drawn[..., 3].max() < VISIBLE:
            raise SSegError(
                f'The font {path} has no glyph {thing.glyph} for "{thing.name}"; use a newer NotoColorEmoji.ttf.'
            )
        cells.append(_fit(drawn, size))
    return torch.from_numpy(np.stack(cells)).permute(0, 3, 1, 2).contiguous()  # (T, 4, size, size)


def save_atlas(path: str | Path, pictures: torch.Tensor, vocabulary: Vocabulary | None = None) -> None:
    """Write an atlas (T, 4, size, size) to an `.npz` file that `atlas(path)` reads without a font."""
    path = Path(path)
    if path.suffix != ".npz":
        raise SSegError(f"An atlas is saved as .npz, not as {path.name}; name the file {path.stem}.npz.")
    vocabulary = vocabulary or load_vocabulary()
    np.savez_compressed(path, glyphs=np.array([t.glyph for t in vocabulary.things]), pictures=pictures.cpu().numpy())


def _load_atlas(path: Path, size: int, vocabulary: Vocabulary) -> torch.Tensor:
    try:
        with np.load(path, allow_pickle=False) as file:
            pictures, glyphs = file["pictures"], file["glyphs"].tolist()
    except (OSError, ValueError, KeyError) as error:
        raise SSegError(f"Cannot read the atlas {path} ({error}); write it with save_atlas.") from error
    if pictures.shape[-1] != size:
        raise SSegError(f"The atlas {path} has cells of {pictures.shape[-1]} px, not {size}; save one of that size.")
    row = {glyph: i for i, glyph in enumerate(glyphs)}
    for thing in vocabulary.things:
        if thing.glyph not in row:
            raise SSegError(f'The atlas {path} has no glyph {thing.glyph} for "{thing.name}"; save it anew.')
    return torch.from_numpy(pictures[[row[t.glyph] for t in vocabulary.things]])


def _draw(face: ImageFont.FreeTypeFont, glyph: str) -> np.ndarray:
    """One glyph at the font's own size, with room around it: uint8 (H, W, 4)."""
    canvas = Image.new("RGBA", (2 * STRIKE, 2 * STRIKE))
    text = glyph.replace(EMOJI_STYLE, "")
    ImageDraw.Draw(canvas).text((STRIKE // 3, STRIKE // 3), text, font=face, embedded_color=True)
    # Pillow blends the strokes into the empty, black canvas: what comes out is premultiplied.
    return np.asarray(Image.frombytes("RGBa", canvas.size, canvas.tobytes()).convert("RGBA"))


def _fit(drawn: np.ndarray, size: int) -> np.ndarray:
    """Crop to the visible part, scale its longer side to size - 2, centre: uint8 (size, size, 4)."""
    ys, xs = np.nonzero(drawn[..., 3] >= VISIBLE)
    glyph = Image.fromarray(np.ascontiguousarray(drawn[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]))
    scale = (size - 2) / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    cell = Image.new("RGBA", (size, size))
    # Pillow resizes RGBA premultiplied, so edges keep their colour.
    cell.paste(glyph.resize((width, height), Image.Resampling.BICUBIC), ((size - width) // 2, (size - height) // 2))
    return _bleed(np.array(cell))


def _bleed(rgba: np.ndarray) -> np.ndarray:
    """Give each nearly transparent pixel the colour of the nearest visible one."""
    nearest = ndimage.distance_transform_edt(rgba[..., 3] < VISIBLE, return_distances=False, return_indices=True)
    rgba[..., :3] = rgba[..., :3][tuple(nearest)]
    return rgba
