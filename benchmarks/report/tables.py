"""The generated tables: Markdown in `tables/`, in which `{id}` stands for the value of a measured row."""

import re
from pathlib import Path

from benchmarks.report.rows import Row
from sseg.errors import SSegError

TEMPLATES = Path(__file__).parent / "tables"
PLACE = re.compile(r"\{([a-z0-9][^{}]*)\}")
MARKED = re.compile(r"(<!-- report: ([a-z-]+)(, without sources)? -->\n).*?(<!-- end of report -->)", re.S)


def fill(document: str, rows: dict[str, Row], templates: Path = TEMPLATES) -> str:
    """The document with every part between `<!-- report: NAME -->` and `<!-- end of report -->` written anew."""

    def table(match: re.Match) -> str:
        path = templates / f"{match[2]}.md"
        if not path.is_file():
            raise SSegError(f"A document asks for the table {match[2]}, but there is no {path}.")
        return f"{match[1]}\n{made(path.read_text(encoding='utf-8'), rows, sources=not match[3])}\n\n{match[4]}"

    return MARKED.sub(table, document)


def made(template: str, rows: dict[str, Row], sources: bool = True) -> str:
    """A table with its values and, folded away below it, how each of them was measured."""
    table = PLACE.sub(lambda match: printed(rows, match[1]), template.strip())
    if not sources:
        return table
    used = dict.fromkeys(name.partition(":")[0] for name in PLACE.findall(template))
    return "\n".join([table, "", *ways([rows[name] for name in used])])


def printed(rows: dict[str, Row], name: str) -> str:
    """The value of `ID`, or of `ID:FORMAT`; shares in per cent have one decimal if nothing else is said."""
    identifier, _, form = name.partition(":")
    if identifier not in rows:
        raise SSegError(f"A table asks for {identifier}, which no file of docs/results/measured has.")
    row = rows[identifier]
    return format(row.value, form or (".1f" if isinstance(row.value, float) and "%" in row.unit else ""))


def ways(rows: list[Row]) -> list[str]:
    """A line for each way of measuring: rows of one command, seed, commit, machine and day share it."""
    lines = ['<details markdown="1">', "<summary>Commands, seeds, commits and hardware</summary>", ""]
    lines += ["| command | seed | commit | hardware | date |", "| --- | --- | --- | --- | --- |"]
    for command, note, *rest in dict.fromkeys((r.command, r.note, r.seed, r.commit, r.hardware, r.date) for r in rows):
        lines.append(f"| `{command}`{f' ({note})' if note else ''} | {' | '.join(map(str, rest))} |")
    return [*lines, "", "</details>"]
