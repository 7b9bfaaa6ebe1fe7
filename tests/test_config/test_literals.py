from __future__ import annotations

import pytest
from mmengine.config import Config
from quick_mmengine import LAYOUT

from fusionreid.config import read_literals
from fusionreid.errors import ConfigError

NAMES = ('model', 'input_size')


def read(text: str) -> dict:
    return read_literals(text, NAMES, 'x.pth')


def test_what_mmengine_writes_is_read_back(monkeypatch):
    # Laid out, as outside of the tests.
    monkeypatch.setattr(LAYOUT, 'FormatCode', LAYOUT.FormatCode.__wrapped__)
    settings = dict(
        model=dict(
            type='FusionReID',
            branches=dict(cnn=dict(width=2.5, depth=-1, name=None, stages=(1, [2, 'a'], {}))),
            flags={3: True, 'odd key': False},
        ),
        input_size=(256, 128),
    )
    text = Config(settings).pretty_text
    assert max(map(len, text.splitlines())) < 90
    assert read(text) == settings


def test_the_other_settings_are_not_looked_at(tmp_path):
    harm = tmp_path / 'harm'
    text = (
        f'import os\nother = os.mkdir({str(harm)!r})\n'
        "lr = dict(type='os.system', a=open)\n"
        'input_size = (256, 128)\nmodel.a = 1\na, model = 1, 2\n'
    )
    assert read(text) == {'input_size': (256, 128)}
    assert not harm.exists()
    assert read('') == {}


def test_the_last_of_two_counts_as_in_python():
    assert read('input_size = 1\ninput_size = 2') == {'input_size': 2}
    assert read('model = dict({"a": 1, "b c": 2}, a=3)') == {'model': {'a': 3, 'b c': 2}}


@pytest.mark.parametrize(
    'value',
    [
        'open("x")',
        'dict(a=[open("x")])',
        'dict([("a", 1)])',
        'dict({"a": 1}, {"b": 2})',
        'dict({"a": open("x")})',
        'dict(**{"a": 1})',
        '{**{"a": 1}}',
        '{open("x"): 1}',
        '[*[1, 2]]',
        'builtins.dict(a=1)',
        'other',
        'lambda: 1',
        '"a" + "b"',
        '[x for x in (1, 2)]',
        'f"{1}"',
        '(',
        '-' * 100_000 + '1',
        '[' * 300 + ']' * 300,
        '"\0"',
    ],
    ids=lambda value: value[:20],
)
def test_more_than_literals_is_refused(value):
    with pytest.raises(ConfigError, match='^the config in x.pth is not made of literal values'):
        read(f'model = {value}')
