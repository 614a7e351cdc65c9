"""Neighbours as one page of HTML that needs nothing else: no network, no script, no file beside it."""

import base64
from collections.abc import Callable, Sequence
from html import escape

import pandas as pd

from fabnet.inference.search.answer import Answer
from fabnet.inference.search.queries import Query

_STYLE = """
:root { --ink: #1c2430; --dim: #5c6675; --line: #d5dbe3; --ground: #ffffff; --panel: #f4f6f9; --mark: #b65a00;
        color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --dim: #9aa5b5; --line: #3a4352; --ground: #14181f; --panel: #1d232d; --mark: #ffb066; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto;
       max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; color: var(--dim); }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .7rem;
     grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); }
li { background: var(--panel); border: 1px solid var(--line); border-radius: .3rem; padding: .5rem; font-size: .8rem;
     overflow-wrap: anywhere; }
li.asked { border: 2px solid var(--mark); } li b { font-variant-numeric: tabular-nums; }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; margin-bottom: .3rem; }
span { color: var(--dim); display: block; }
"""


def page(answer: Answer, queries: Sequence[Query], jpeg: Callable[[int], bytes], line: str) -> str:
    """A row of pictures for each query, the query first.

    Args:
        jpeg: how a row of the index looks, by its number; empty where that is not known.
        line: what was searched, and how.
    """
    parts = []
    found = answer.table.assign(row=answer.rows)
    for query in queries:
        own = query.jpeg or (jpeg(query.row) if query.row >= 0 else b"")
        cards = [_card("asked", own, "<b>query</b>", [query.identity])]
        for one in found[found["query"] == query.name].to_dict("records"):
            told = [one["id"], "" if pd.isna(one["identity"]) else one["identity"]]
            if not pd.isna(one["time_s"]):
                told.append(f"{one['time_s']:.1f} s")
            cards.append(_card("", jpeg(one["row"]), f"{one['rank']}: <b>{one['similarity']:.3f}</b>", told))
        parts.append(f"<h2>{escape(query.name)}</h2><ol>{''.join(cards)}</ol>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Nearest faces</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>Nearest faces</h1><p>{escape(line)} Numbers are cosines: 1 is the same direction.</p>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _card(kind: str, jpeg: bytes, title: str, told: Sequence[str]) -> str:
    image = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">' if jpeg else ""
    words = "".join(f"<span>{escape(word)}</span>" for word in told if word)
    return f'<li class="{kind}">{image}{title}{words}</li>'
