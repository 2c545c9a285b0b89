"""Lines of keys, overrides, and the writer of TOML."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kyphos.errors import StudyError
from kyphos.experiments.toml_text import dump, key_lines, override, parse

TEXT = '''top = 1
[a]   # a comment
x = 1
"quoted key" = 2
note = """
[not_a_table]
x = 3
"""
[[a.list]]
y.z = 1
[[a.list]]
y.z = 2
[a.list.inner]
w = [
  1,
]
'''


def test_keys_are_found_on_their_lines():
    lines = key_lines(TEXT)
    assert lines[("top",)] == 1
    assert lines[("a",)] == 2
    assert lines[("a", "x")] == 3
    assert lines[("a", "quoted key")] == 4
    assert lines[("a", "list", 0, "y", "z")] == 10
    assert lines[("a", "list", 1, "y", "z")] == 12
    assert lines[("a", "list", 1, "inner", "w")] == 14
    assert ("not_a_table",) not in lines


def test_every_line_found_belongs_to_a_key_that_is_there():
    tables = parse(TEXT, "t")
    for path in key_lines(TEXT):
        spot = tables
        for part in path:
            spot = spot[part]


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("a.x=2.5", ("a", "x"), 2.5),
        ("a.list.1.y.z = -3", ("a", "list", 1, "y", "z"), -3),
        ("a.list.2.y=true", ("a", "list", 2, "y"), True),
        ("a.word=two-words", ("a", "word"), "two-words"),
        ("a.word=sample:verse004_L2", ("a", "word"), "sample:verse004_L2"),
        ("a.word='two words'", ("a", "word"), "two words"),
        ("a.both=x", ("a", "both"), "x"),
        ("new.table.key=[1, 2]", ("new", "table", "key"), [1, 2]),
        ("new.0.key=1", ("new", 0, "key"), 1),
    ],
)
def test_settings_reach_their_place(setting, path, value):
    tables = parse(TEXT, "t")
    assert override(tables, setting) == path
    spot = tables
    for part in path:
        spot = spot[part]
    assert spot == value
    assert type(spot) is type(value)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("a.x", "expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        ("a..x=1", "expected KEY=VALUE"),
        ("a.list.5.y=1", "index 5 is too large"),
        ("a.list.y=1", "name its items by index"),
        ("a.list.-1.y=1", "name its items by index"),
        ("a.x.y=1", "single value"),
        ("a.x=two words", "neither a TOML value nor a bare word"),
        ("a.x=[1", "neither a TOML value nor a bare word"),
        ("a.x=1\nb=2", "neither a TOML value nor a bare word"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting, reason):
    with pytest.raises(StudyError, match=reason):
        override(parse(TEXT, "t"), setting)


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
TABLES = st.recursive(
    st.dictionaries(KEYS, st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=4),
    lambda inner: st.dictionaries(KEYS, st.one_of(SCALARS, inner, st.lists(inner, min_size=1, max_size=3)), max_size=4),
    max_leaves=8,
)


@given(TABLES)
def test_what_is_written_reads_back_the_same(tables):
    assert tomllib.loads(dump(tables)) == tables


def test_nothing_is_written_for_none_and_no_toml_for_an_object():
    assert dump({"a": None, "b": 1}) == "b = 1\n"
    with pytest.raises(TypeError):
        dump({"a": object()})
    with pytest.raises(TypeError):
        dump({"a": float("nan")})
