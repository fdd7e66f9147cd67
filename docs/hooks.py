"""What mkdocs runs: files of the repository outside docs/ become pages of the site, and links to them lead there."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "LICENSE.txt",
    "assets/examples/CREDITS.md": "credits.md",
    "assets/gallery/CREDITS.md": "credits-gallery.md",
    "assets/vocabularies/synonyms.yaml": "synonyms.yaml",
}
LINK = re.compile(r'(\]\(|src="|srcset=")([^)\s"#]+)')
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.S)


def pages() -> dict[str, str]:
    """Path in the repository -> path in the site, of everything that lies outside docs/."""
    found = dict(PAGES)
    for card in sorted(ROOT.glob("sseg/weights/*/README.md")):
        name = card.parent.name
        found[card.relative_to(ROOT).as_posix()] = f"weights/{name}.md"
        found |= {p.relative_to(ROOT).as_posix(): f"weights/{name}/{p.name}" for p in card.parent.glob("*.png")}
    return found


def on_files(files, config):
    for source, target in pages().items():
        if target.endswith(".md"):
            files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
        else:
            files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links are written for the repository; here each is turned into one of the site."""
    moved = pages()
    source = {target: source for source, target in moved.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def relinked(match):
        start, link = match.groups()
        if ":" in link:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        target = moved.get(path, path.removeprefix("docs/"))
        return start + posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    pieces = CODE.split(markdown)  # every second piece is code
    return "".join(piece if i % 2 else LINK.sub(relinked, piece) for i, piece in enumerate(pieces))
