"""A report as sections of sentences, tables and pictures, written as Markdown or as one HTML page."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RESEARCH_USE = "Research use only. Not for diagnosis."

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: 2rem auto;
  padding: 0 1.5rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; max-width: 26rem; vertical-align: top; }
figure svg { max-width: 100%; height: auto; }
figcaption { font-size: 13px; color: #444; }
.scroll { overflow-x: auto; }
.use { color: #7a1f00; font-weight: 600; }
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text below headings."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing as an SVG element, with what it shows in words; HTML only."""

    svg: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with what stands below it: sentences, then tables, then pictures."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]


def markdown(document: Document) -> str:
    """Return a document as Markdown, without its pictures."""
    lines = [f"# {_plain(document.title)}", "", RESEARCH_USE, ""]
    for section in document.sections:
        lines += [f"## {_plain(section.title)}", ""]
        for sentence in section.sentences:
            lines += [_plain(sentence), ""]
        for table in section.tables:
            lines += [*_markdown_table(table), ""]
    return "\n".join(lines)


def html_page(document: Document) -> str:
    """Return a document as one HTML page that loads nothing: a browser is told so, too."""
    body = "\n".join(_html(document))
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(document.title)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _html(document: Document) -> Iterator[str]:
    yield f"<h1>{html.escape(document.title)}</h1>"
    yield f'<p class="use">{RESEARCH_USE}</p>'
    for section in document.sections:
        yield f"<section><h2>{html.escape(section.title)}</h2>"
        for sentence in section.sentences:
            yield f"<p>{html.escape(sentence)}</p>"
        for table in section.tables:
            yield _html_table(table)
        for picture in section.pictures:
            yield f"<figure>{picture.svg}<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
        yield "</section>"


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

    rows = "".join(row(cells, "td") for cells in table.rows)
    return f'<div class="scroll"><table><thead>{row(table.headings, "th")}</thead><tbody>{rows}</tbody></table></div>'


def _markdown_table(table: Table) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"

    return [row(table.headings), row(["---"] * len(table.headings)), *(row(cells) for cells in table.rows)]


def _plain(text: str) -> str:
    """Return text that Markdown does not take for HTML or a new line."""
    return " ".join(text.split()).replace("<", "&lt;")
