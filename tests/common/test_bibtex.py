"""One reader of BibTeX: every shipped entry, whatever is in it, and what is broken."""

from __future__ import annotations

import pytest

from diadbench.common.bibtex import bibtex, read, shipped


@pytest.mark.parametrize(
    ("room", "file"),
    [("datasets", "references.bib"), ("methods", "references.bib"), ("reports.published", "published.bib")],
)
def test_shipped_entries_are_whole_and_written_as_they_are_read(room: str, file: str) -> None:
    entries = shipped(room, file)
    assert len(entries) > 5
    for key, entry in entries.items():
        assert {"title", "year"} <= set(entry.fields), key
        assert read(str(entry)) == {key: entry}


def test_values_keep_their_braces_and_commas() -> None:
    text = '@Article{a:1, Title = {X {Y}, "z"}, author = "A, B and C", year = 2020}'
    assert read(text)["a:1"].fields == {"title": 'X {Y}, "z"', "author": "A, B and C", "year": "2020"}


def test_what_is_broken_is_left_out_and_what_stands_before_it_is_read() -> None:
    assert set(read("@misc{good, title = {x}}\n@misc{bad, title = {never ends")) == {"good"}
    assert read("no BibTeX at all, 50 % {") == {}


def test_an_unknown_key_has_no_entry() -> None:
    assert bibtex("methods", "nobody2020") == bibtex("methods", "") == ""
    assert bibtex("methods", "he2024diad").startswith("@")
