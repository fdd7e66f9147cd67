"""What people read: links and anchors lead somewhere, figures and tables are those of the measured values."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks.report import __main__ as command
from benchmarks.report import charts, method, rows, svg, tables
from sseg import SSegError
from tests.conftest import ROOT
from tests.test_rooms import LAYERS

DOCUMENTS = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "assets/examples/CREDITS.md")]
    + [*(ROOT / "docs").glob("*.md"), *(ROOT / "sseg/weights").glob("*/README.md")]
)
CODE = [
    p
    for folder in ("sseg", "train", "benchmarks")
    for kind in ("py", "yaml")
    for p in (ROOT / folder).rglob(f"*.{kind}")
]
LINK = re.compile(r'(?:\]\(|src="|srcset=")([^)\s"]+)')
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.M)
FENCED = re.compile(r"```.*?```|`[^`\n]+`", re.S)
ROW = {"id": "a/b", "value": 41.96, "unit": "mIoU, %", "command": "python -m x", "seed": 0, "commit": "abc1234",
       "hardware": "one core", "date": "2026-01-01"}  # fmt: skip


def anchors(text):
    """The anchors that GitHub gives a document's headings."""
    found, seen = set(), {}
    for heading in HEADING.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-")
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(path):
    return [link for link in LINK.findall(FENCED.sub("", path.read_text())) if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(path):
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_keeps_to_the_width_of_the_code(path):
    if path.is_relative_to(ROOT / "sseg"):
        return  # cards are written by train.publish
    long = [
        line
        for line in re.sub(r"```.*?```", "", path.read_text(), flags=re.S).splitlines()
        if len(line) > 120 and not line.lstrip().startswith(("|", "![", "<"))
    ]
    assert not long


def test_code_cites_documents_that_there_are():
    sections = {match[1] for match in re.finditer(r"^## (\d+)\. ", (ROOT / "docs/paper.md").read_text(), re.M)}
    choices = set(re.findall(r"^\| (9\.\d+) \|", (ROOT / "docs/paper.md").read_text(), re.M))
    cited = 0
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"\bdocs/([\w./-]+\.md)\b", text):
            assert (ROOT / "docs" / name).is_file(), f"{path} cites docs/{name}"
        for numbers in re.findall(r"paper\.md, (?:section )?([\d., and]*\d)", text):
            for number in re.findall(r"\d+(?:\.\d+)?", numbers):
                cited += 1
                assert number in sections | choices, f"{path} cites section {number}"
    assert cited >= 5


def test_tables_and_figures_are_those_of_the_measured_values():
    assert command.changed(command.made()) == [], "run python -m benchmarks.report"


def test_a_table_gets_values_and_how_they_were_measured(tmp_path):
    (tmp_path / "one.md").write_text("| what | mIoU |\n| --- | --- |\n| it | {a/b}, {a/b:.2f} |\n")
    document = "before\n<!-- report: one -->\nold\n<!-- end of report -->\nafter\n"
    filled = tables.fill(document, {"a/b": rows.Row(**ROW)}, tmp_path)
    assert "| it | 42.0, 41.96 |" in filled and "| `python -m x` | 0 | abc1234 | one core | 2026-01-01 |" in filled
    assert filled.startswith("before\n") and filled.endswith("after\n") and "old" not in filled
    assert tables.fill(filled, {"a/b": rows.Row(**ROW)}, tmp_path) == filled
    bare = tables.fill(document.replace("one -->", "one, without sources -->"), {"a/b": rows.Row(**ROW)}, tmp_path)
    assert "python -m x" not in bare


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([{**ROW, "seconds": 1}], "seconds"),
        ([{name: ROW[name] for name in ROW if name != "commit"}], "commit"),
        ([ROW, ROW], "two rows a/b"),
        ("{", "no JSON"),
        ([], "no measured values"),
    ],
)
def test_rows_of_another_kind_are_one_sentence(tmp_path, content, sentence):
    (tmp_path / "some.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SSegError, match=sentence):
        rows.read(tmp_path)


def test_a_value_or_a_table_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(SSegError, match="a/c"):
        tables.made("| {a/c} |", {"a/b": rows.Row(**ROW)})
    with pytest.raises(SSegError, match="none"):
        tables.fill("<!-- report: none -->\n<!-- end of report -->", {}, tmp_path)


def test_every_measured_value_is_shown():
    """In a table or a figure, or it is one of the log's and stands in a file all the same."""
    measured = rows.read(ROOT / "docs/results/measured")
    assert all(row.command and row.date.startswith("20") for row in measured.values())
    for chart in charts.CHARTS.values():
        assert {id for ids in chart.groups.values() for id in ids if id} <= measured.keys()
    for theme in svg.THEMES:
        assert "<title>" in method.draw(theme, ROOT / "docs/images/method")


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "api.html", "log.html"} <= {page.name for page in pages}
    for page in pages:
        fetched = re.findall(
            r'<(?:script|img|link|iframe|source)[^>]*(?:src|href|srcset)="(https?:)?//', page.read_text()
        )
        assert not fetched, page
    assert "sseg.segmenter.Segmenter.ask" in (tmp_path / "api.html").read_text()


def test_the_layers_of_the_document_are_those_that_are_kept():
    text = (ROOT / "docs/architecture.md").read_text().partition("## Layers")[2]
    written = [set(re.findall(r"`([a-z_.]+)`", line)) for line in re.findall(r"^\d+\. (.*)$", text, re.M)]
    assert written == [{name for name in names if not name.startswith("_")} for names in LAYERS]
