"""Tables come back as they were, and a spreadsheet program runs nothing in them."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionreid.utils.csv_table import escape_formula, read_csv, unescape_formula, write_csv

STARTS = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']
CELLS = st.text(st.sampled_from(['=', '+', '-', '@', "'", '"', ',', ';', '\t', '\r', '\n', 'a']))


@given(CELLS | st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs'])))
def test_every_text_comes_back(text):
    assert unescape_formula(escape_formula(text)) == text
    assert list(read_csv(write_csv([[text, 'x']]))) == [[text, 'x']]


@given(CELLS, CELLS)
def test_two_texts_never_become_one(one, other):
    assert (escape_formula(one) == escape_formula(other)) == (one == other)


@pytest.mark.parametrize('start', STARTS)
def test_no_cell_begins_a_formula(start):
    text = f'{start}cmd|"/c calc"!A1'
    (cell,) = next(csv.reader(io.StringIO(write_csv([[text]]).decode(), newline='')))
    assert cell == f"'{text}"


def test_numbers_stay_numbers_and_bytes_bytes():
    rows = [['a\udcff.jpg', -1, -0.5, 3]]
    content = write_csv(rows)
    assert content == b'"a\xff.jpg","-1","-0.5","3"\n'
    assert list(read_csv(content)) == [['a\udcff.jpg', '-1', '-0.5', '3']]
