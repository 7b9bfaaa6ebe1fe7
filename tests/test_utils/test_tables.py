"""Tables are aligned, whatever stands in their cells."""

from __future__ import annotations

import pytest

from fusionreid.utils.tables import format_table, markdown_table

ROWS = [('feature', 'mAP', 'remark'), ('cnn', '9.5', ''), ('all', '100.0', 'several words')]


def test_numbers_stand_right_and_words_left():
    assert format_table(ROWS).splitlines() == [
        'feature    mAP  remark',
        'cnn        9.5',
        'all      100.0  several words',
    ]


def test_a_rule_is_as_long_as_the_longest_line():
    plain, ruled = (format_table(ROWS, rule=rule).splitlines() for rule in (False, True))
    assert ruled == [plain[0], '-' * len('all      100.0  several words'), *plain[1:]]


@pytest.mark.parametrize('cell', ['1,234', '-0.5', '+3', '45%', '.5', '', '-'])
def test_what_counts_as_a_number(cell: str):
    lines = format_table([('name', 'value'), ('a', cell), ('b', '12345678')]).splitlines()
    assert lines[1] == f'a     {cell:>8}'.rstrip()


@pytest.mark.parametrize('cell', ['1.2.3', 'x1', '1 of 2', '--'])
def test_one_word_makes_a_column_of_words(cell: str):
    lines = format_table([('name', 'value'), ('a', cell), ('b', '12345678')]).splitlines()
    assert lines[1] == f'a     {cell}'


def test_a_head_alone_is_a_table():
    assert format_table([('one', 'two')]) == 'one  two'


def test_markdown_has_a_rule_below_the_head():
    assert markdown_table([('a', 'long name'), ('word', '1')]).splitlines() == [
        '| a    | long name |',
        '|------|-----------|',
        '| word | 1         |',
    ]


@pytest.mark.parametrize('layout', [format_table, markdown_table])
def test_rows_of_different_length_are_refused(layout):
    with pytest.raises(ValueError, match='zip'):
        layout([('a', 'b'), ('c',)])
