"""Templates of pages: what they are given is escaped, what they are not given is an error, and all is within."""

import re

import pytest
from jinja2 import UndefinedError

from fabnet.pages import data_url, render

CARDS = [
    {"jpeg": b"\xff\xd8", "words": ["<b>ann", ""]},
    {"jpeg": b"", "rank": 1, "similarity": "0.9", "words": ['"x"']},
]


def test_values_are_escaped_and_pictures_lie_within():
    text = render("search.html", title="a & b", line="<script>", rows=[{"name": "<i>.jpg", "cards": CARDS}])
    assert "<title>a &amp; b</title>" in text
    assert "<h2>&lt;i&gt;.jpg</h2>" in text
    assert "<span>&lt;b&gt;ann</span>" in text
    assert "<script" not in text
    assert text.count("<span>") == 2  # an empty word has none
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", data_url("jpeg", b"\xff\xd8")]


def test_a_value_that_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="line"):
        render("search.html", title="t", rows=[])
