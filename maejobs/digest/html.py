"""The digest as one HTML file that needs nothing besides: pictures are within. Pure."""

from base64 import b64encode
from html import escape

from maejobs.digest.facts import Digest, Picture, to_do
from maejobs.digest.text import Section, plain, sections, span, title

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; }
h1 { font-size: 1.3em; } h2 { font-size: 1em; margin: 1.5em 0 .3em; }
table { border-collapse: collapse; } td { padding: .15em 1.2em .15em 0; vertical-align: top; }
.bad { color: #a40000; } figure { margin: 1.5em 0; } img { max-width: 100%; }
@media (prefers-color-scheme: dark) {
  body { background: #1b1b1b; color: #ddd; } .bad { color: #ff8a80; }
}
"""


def as_html(digest: Digest) -> str:
    """The digest as HTML. All that a command said of itself is escaped."""
    style = ' class="bad"' if to_do(digest) else ""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title(digest))}</title><style>{STYLE}</style></head><body>",
            f"<h1{style}>{escape(title(digest))}</h1>",
            f"<p>{escape(span(digest))}</p>",
            *(_section(section) for section in sections(digest)),
            *(_figure(picture) for picture in digest.pictures),
            "</body></html>",
            "",
        ]
    )


def _section(section: Section) -> str:
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in section.lines
    )
    return f"<h2>{escape(section.title)}</h2><table>{rows}</table>"


def _figure(picture: Picture) -> str:
    told = escape(plain(f"{picture.name}, by {picture.run}"))
    data = b64encode(picture.data).decode()
    return (
        f'<figure><img alt="{told}" src="data:image/png;base64,{data}">'
        f"<figcaption>{told}</figcaption></figure>"
    )
