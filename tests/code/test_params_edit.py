"""Values of a YAML text are set where they stand: bytes before and after, of every layout that people write."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fabnet.config.edit import REPLACE, compose, edited
from fabnet.errors import ConfigError


def put(text: str, *assignments: str) -> str:
    """`text` with assignments KEY=VALUE, VALUE in YAML."""
    pairs = (assignment.partition("=")[::2] for assignment in assignments)
    return edited(text, [(tuple(key.split(".")), compose(value)) for key, value in pairs])


@pytest.mark.parametrize(
    ("before", "assignment", "after"),
    [
        # Scalars: the comment keeps its column where there is room, and one blank where there is none.
        ("a: 1   # one\nb: 2\n", "a=22", "a: 22  # one\nb: 2\n"),
        ("a: 1 # one\n", "a=22", "a: 22 # one\n"),
        ("a: 1   # one\n", "a=22222", "a: 22222 # one\n"),
        ("a: 22222 # one\n", "a=1", "a: 1     # one\n"),
        ("a: 1", "a=2", "a: 2"),
        ("a: 'x # y'  # z\n", "a=1", "a: 1        # z\n"),
        ("a: 'it''s'\n", 'a="x"', 'a: "x"\n'),
        ("a:\nb: 1\n", "a=2", "a: 2\nb: 1\n"),
        ("a:  # nothing\nb: 1\n", "a=2", "a: 2 # nothing\nb: 1\n"),
        ("a: 1\r\nb: 2  # x\r\n", "b=3", "a: 1\r\nb: 3  # x\r\n"),
        ("a: >\n  long\n  text\nb: 2\n", "a=1", "a: 1\nb: 2\n"),
        ("a: 1.50\n", "a=2.50", "a: 2.50\n"),
        ("a: b, c\n", "a=d, e", 'a: "d, e"\n'),
        ("a: 1 # é\nü: 2 # ñ\n", "ü=ö", "a: 1 # é\nü: ö # ñ\n"),
        # In braces, also nested and over several lines.
        ("a: {b: 1, c: 2}  # x\n", "a.b=10", "a: {b: 10, c: 2} # x\n"),
        ("a: {b: {d: 1}, c: 2}  # x\n", "a.b.d=3", "a: {b: {d: 3}, c: 2}  # x\n"),
        ("a: {b: '# 1', c: '# 2'}  # x\n", "a.b=1", "a: {b: 1, c: '# 2'}      # x\n"),
        ("a: {b: 1,   # one\n    c: 2}  # two\n", "a.c=30", "a: {b: 1,   # one\n    c: 30} # two\n"),
        ("a: {b: 1, c: 2}\n", "a.b={d: 3}", "a: {b: {d: 3}, c: 2}\n"),
        # New keys, behind the last one and the comments that belong to it.
        (
            "a:\n  b: 1  # one\n        # more\n\n# next\nc: 2\n",
            "a.d=3",
            "a:\n  b: 1  # one\n        # more\n  d: 3\n\n# next\nc: 2\n",
        ),
        ("a: {b: 1}   # x\n", "a.c=2", "a: {b: 1, c: 2} # x\n"),
        ("a: 1\n", "b={c: [1, 2]}", "a: 1\nb: {c: [1, 2]}\n"),
        ("a: 1", "b=2", "a: 1\nb: 2"),
        ("a: 1\n", "b.c.d=2", "a: 1\nb:\n  c:\n    d: 2\n"),
        ("a: {}   # none\nb: 1\n", "a.c={d: 1}", "a:      # none\n  c: {d: 1}\nb: 1\n"),
        ("a: null # none\n", "a.c=1", "a:      # none\n  c: 1\n"),
        ("a: {b: {}}\n", "a.b.c=1", "a: {b: {c: 1}}\n"),
        ("a: 1\n", "b.no=2", 'a: 1\nb:\n  "no": 2\n'),
        ("a:\n- 1\n- 2\nb: 1\n", "c=2", "a:\n- 1\n- 2\nb: 1\nc: 2\n"),
        # Blocks make room for a value.
        ("a:   # x\n  b: 1\n  c:\n    d: 1  # y\n      # z\ne: 1\n", "a={b: 2}", "a: {b: 2} # x\ne: 1\n"),
        ("a:   # x\n     # y\n  b: 1\ne: 1\n", "a=1", "a: 1 # x\n     # y\ne: 1\n"),
        ("a:\n- 1\n- 2\nb: 1\n", "a=[3]", "a: [3]\nb: 1\n"),
        ("a:\n  b: 1\n", "a=null", "a: null\n"),
    ],
)
def test_bytes(before: str, assignment: str, after: str):
    assert put(before, assignment) == after


def test_blocks_of_a_profile_stay_blocks():
    text = "a:            # all\n  b: {c: 1}   # one\n  d: {}       # two\ne: 1\n"
    over = "f:\n  g: {x: 1}\n  h:\n    y: 2   # dropped\n    z:\n    - 3\n"
    (_, node), *_ = yaml.compose(over).value
    below = "  d:          # two\n    g: {x: 1}\n    h:\n      y: 2\n      z: [3]\n"
    assert edited(text, [(("a", "d"), node)]) == f"a:            # all\n  b: {{c: 1}}   # one\n{below}e: 1\n"
    assert edited(text, [(("a",), node)]) == "a:            # all\n  g: {x: 1}\n  h:\n    y: 2\n    z: [3]\ne: 1\n"


def test_the_tag_is_no_content():
    assert put("a: {b: 1}\n", f"a={REPLACE} {{c: 2}}") == "a: {c: 2}\n"


@pytest.mark.parametrize(
    ("text", "assignment", "named"),
    [
        ("a: 1\n", "a.b=2", "a.b: a holds a value, not a section"),
        ("a: [1]\n", "a.b=2", "a.b: a holds a value"),
        ("a: &x {c: 1}\nb: *x\n", "a=2", "a: cannot be set in this layout"),
        ("a: 1\n3: 2\n", "3=4", "3: cannot be set in this layout"),
    ],
)
def test_what_cannot_be_set_so_is_refused(text: str, assignment: str, named: str):
    with pytest.raises(ConfigError) as caught:
        put(text, assignment)
    assert str(caught.value).startswith(named)


words = st.text(st.sampled_from("abc xyz#:,{}[]'\"-é"), max_size=6)
leaves = st.one_of(st.integers(-99, 99), st.booleans(), st.none(), st.floats(allow_nan=False), words)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4), st.lists(inner, max_size=3)),
)
mappings = st.dictionaries(st.sampled_from("abcdef"), trees, min_size=1, max_size=4)


@given(mappings, trees, st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_any_value_can_be_set_anywhere(values, value, path, flow, flow_value):
    """In whatever style a library writes the file and the value; compared with plain dictionaries."""
    wanted = yaml.safe_load(yaml.safe_dump(values))
    inner = wanted
    for part in path[:-1]:
        if inner.get(part) is None:
            inner[part] = {}
        inner = inner[part]
        if not isinstance(inner, dict):
            return
    inner[path[-1]] = value
    text = yaml.safe_dump(values, default_flow_style=flow, allow_unicode=True)
    node = yaml.compose(yaml.safe_dump(value, default_flow_style=flow_value, allow_unicode=True))
    assert yaml.safe_load(edited(text, [(tuple(path), node)])) == wanted
