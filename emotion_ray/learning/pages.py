"""A document of headings, text, tables and pictures, as one HTML file and as Markdown with PNGs beside it.

What a document holds is plain text: each of the two writers escapes all of it, in `_html` and `_markdown`.
"""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Template

from matplotlib.figure import Figure

from emotion_ray.learning.plots import as_png, as_svg


@dataclass(frozen=True)
class Text:
    """A paragraph; a `warning` stands out."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Points:
    """A list of short paragraphs."""

    items: Sequence[str]


@dataclass(frozen=True)
class Share:
    """A table's cell: a value in 0..1, shown in percent with a bar; nan is shown as n/a."""

    value: float

    def __str__(self) -> str:
        return "n/a" if math.isnan(self.value) else f"{100 * self.value:.1f}%"


@dataclass(frozen=True)
class Table:
    """A table; the first column heads the rows. `strong` are the rows that matter most, from 0."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Share]]
    caption: str = ""
    strong: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A figure; `name` is its file's, `caption` says what can be seen, for those too who can't see it."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, where there is room."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Tiles:
    """The figures to see first: (what, value, remark) each."""

    tiles: Sequence[tuple[str, str, str]]


Block = Text | Points | Table | Gallery | Tiles


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole page. The banner, about the data, heads it in every form."""

    title: str
    banner: Text
    lead: Sequence[Block]
    sections: Sequence[Section] = field(default_factory=tuple)


def to_html(document: Document) -> str:
    """The document as one HTML file that needs no other: style within, pictures as SVG."""
    shell = Template(resources.files("emotion_ray.learning").joinpath("page.html").read_text("utf-8"))
    parts, links = [], []
    for number, section in enumerate(document.sections, 1):
        blocks = "\n".join(_block_html(block) for block in section.blocks)
        parts.append(f'<section id="s{number}"><h2>{_html(section.title)}</h2>\n{blocks}</section>')
        links.append(f'<li><a href="#s{number}">{_html(section.title)}</a></li>')
    return shell.substitute(
        title=_html(document.title),
        banner=_html(document.banner.text),
        kind="banner warning" if document.banner.warning else "banner",
        lead="\n".join(_block_html(block) for block in document.lead),
        links="".join(links),
        sections="\n".join(parts),
    )


def to_markdown(document: Document) -> tuple[str, dict[str, bytes]]:
    """The document as Markdown, and the PNGs that it shows, by file name."""
    parts = [f"# {_markdown(document.title)}", f"> **{_markdown(document.banner.text)}**"]
    pictures: dict[str, bytes] = {}
    parts += [_block_markdown(block, pictures) for block in document.lead]
    for section in document.sections:
        parts.append(f"## {_markdown(section.title)}")
        parts += [_block_markdown(block, pictures) for block in section.blocks]
    return "\n\n".join(parts) + "\n", pictures


def _html(text: object) -> str:
    return html.escape(str(text))


def _block_html(block: Block) -> str:
    match block:
        case Text(text, warning):
            return f'<p class="warning">{_html(text)}</p>' if warning else f"<p>{_html(text)}</p>"
        case Points(items):
            return "<ul>" + "".join(f"<li>{_html(item)}</li>" for item in items) + "</ul>"
        case Tiles(tiles):
            return f'<dl class="tiles">{"".join(_tile_html(*tile) for tile in tiles)}</dl>'
        case Gallery(pictures):
            return f'<div class="gallery">{"".join(_picture_html(picture) for picture in pictures)}</div>'
        case Table():
            return _table_html(block)


def _tile_html(what: str, value: str, remark: str) -> str:
    values = f'<dd class="value">{_html(value)}</dd><dd>{_html(remark)}</dd>'
    return f'<div class="tile"><dt>{_html(what)}</dt>{values}</div>'


def _picture_html(picture: Picture) -> str:
    caption = _html(picture.caption)
    return f"<figure><figcaption>{caption}</figcaption>{as_svg(picture.figure, caption)}</figure>"


def _table_html(table: Table) -> str:
    head = "".join(f'<th scope="col">{_html(column)}</th>' for column in table.columns)
    body = []
    for number, (first, *cells) in enumerate(table.rows):
        row = f'<th scope="row">{_html(first)}</th>' + "".join(_cell_html(cell) for cell in cells)
        emphasis = ' class="strong"' if number in table.strong else ""
        body.append(f"<tr{emphasis}>{row}</tr>")
    caption = f'<p class="caption">{_html(table.caption)}</p>' if table.caption else ""
    rows = "".join(body)
    # Outside of what scrolls sideways, the caption can be read whole on a phone.
    label = _html(table.caption or ", ".join(table.columns))
    grid = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'{caption}<div class="scroll" role="region" tabindex="0" aria-label="{label}">{grid}</div>'


def _cell_html(cell: str | Share) -> str:
    if isinstance(cell, Share):
        width = 0 if math.isnan(cell.value) else 100 * min(max(cell.value, 0), 1)
        return f'<td class="share" style="--share:{width:.1f}%">{_html(cell)}</td>'
    kind = "number" if re.fullmatch(r"[-+\d.,%±\[\]() ]*", cell) else "words"
    return f'<td class="{kind}">{_html(cell)}</td>'


def _markdown(text: object) -> str:
    """Text with all that Markdown or HTML would take for markup set out of force, on one line."""
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", line)


def _block_markdown(block: Block, pictures: dict[str, bytes]) -> str:
    match block:
        case Text(text, warning):
            return f"> {_markdown(text)}" if warning else _markdown(text)
        case Points(items):
            return "\n".join(f"- {_markdown(item)}" for item in items)
        case Tiles(tiles):
            return "\n".join(
                f"- {_markdown(what)}: **{_markdown(value)}** ({_markdown(rest)})" for what, value, rest in tiles
            )
        case Gallery(shown):
            pictures |= {f"{picture.name}.png": as_png(picture.figure) for picture in shown}
            return "\n\n".join(f"{_markdown(p.caption)}\n\n![{_markdown(p.caption)}]({p.name}.png)" for p in shown)
        case Table(columns, rows, caption, strong):
            lines = [_row(columns), _row(["---"] * len(columns), escape=False)]
            lines += [_row(row, bold=number in strong) for number, row in enumerate(rows)]
            return (f"{_markdown(caption)}\n\n" if caption else "") + "\n".join(lines)


def _row(cells: Sequence[object], bold: bool = False, escape: bool = True) -> str:
    texts = [_markdown(cell) if escape else str(cell) for cell in cells]
    return "| " + " | ".join(f"**{text}**" if bold and text else text for text in texts) + " |"
