"""What a terminal could take for a command is shown, not sent."""

from __future__ import annotations

import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionreid.utils.tables import format_table, markdown_table
from fusionreid.utils.terminal import EscapedLogRecord, escape_controls, say, say_lines

BAD = {
    'escape sequence': '\x1b[31mred',
    'title': '\x1b]0;owned\x07',
    'C1 control': '\x9b2J',
    'carriage return': 'good\rbad',
    'line break': 'a\nb',
    'backspace': 'ab\b\b',
    'direction': 'gpj.\u202egnp',
    'isolate': '\u2066x\u2069',
    'zero width': 'a\u200bb',
    'line separator': 'a\u2028b',
    'byte that is no UTF-8': 'a\udcffb',
    'delete': 'a\x7f',
}


@pytest.mark.parametrize('text', BAD.values(), ids=BAD)
def test_nothing_that_steers_a_terminal_is_left(text):
    shown = escape_controls(text)
    assert shown != text
    assert all(unicodedata.category(each)[0] not in 'C' for each in shown)
    assert '\\' in shown
    shown.encode()  # can be printed


@pytest.mark.parametrize('text', ['plain', 'Grüße/写真 1.jpg', 'a b\u3000c', '👍'])
def test_other_text_is_left_alone(text):
    assert escape_controls(text) == text


@pytest.mark.slow
@given(st.text())
def test_a_line_stays_a_line(text):
    assert len(escape_controls(text).splitlines()) <= 1


def test_lines_tables_and_logs_are_escaped(capsys):
    say('a\x1b\nb')
    say_lines('a\x1b\nb')
    assert capsys.readouterr().out == 'a\\x1b\\nb\na\\x1b\nb\n'
    for lay_out in (format_table, markdown_table):
        text = lay_out([['image'], ['a\x1b[2J\nb.jpg']])
        assert 'a\\x1b[2J\\nb.jpg' in text
        assert '\x1b' not in text
    record = EscapedLogRecord('name', logging.INFO, '', 1, 'image %s\nnext', ('\x1b[2J',), None)
    assert record.getMessage() == 'image \\x1b[2J\nnext'
