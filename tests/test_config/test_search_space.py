from __future__ import annotations

from types import SimpleNamespace

import pytest

from fusionreid.config.search_space import read_search_range


def chosen(text: str, pick: str = 'low'):
    """The value of a setting from a trial that takes the first or the last of a range."""
    asked = {}

    def number(name, low, high, **options):
        asked.update(name=name, low=low, high=high, **options)
        return low if pick == 'low' else high

    def one_of(name, choices):
        asked.update(name=name, choices=choices)
        return choices[0 if pick == 'low' else -1]

    trial = SimpleNamespace(suggest_float=number, suggest_int=number, suggest_categorical=one_of)
    key, values = read_search_range(text)
    value = values.suggest(trial, key)
    assert asked['name'] == key
    return value, asked


def test_numbers():
    value, asked = chosen('a.lr=log:1e-5:1e-3')
    assert (value, asked['high'], asked['log']) == (1e-5, 1e-3, True)
    value, asked = chosen('a=float:-1:1')
    assert (value, asked['high'], asked['log']) == (-1.0, 1.0, False)
    value, asked = chosen('model.neck.num_layers=int:1:4', 'high')
    assert (value, asked['step'], type(value)) == (4, 1, int)
    value, asked = chosen('a=int:8:64:8')
    assert (value, asked['high'], asked['step']) == (8, 64, 8)


@pytest.mark.parametrize(
    ('text', 'values'),
    [
        ('a=choice:SGD,AdamW', ['SGD', 'AdamW']),
        ('a=choice:1,2.5,true,None', [1, 2.5, True, None]),
        ('a=choice:[seu],[seu,mfu]', [['seu'], ['seu', 'mfu']]),
        ('a=choice:(256,128),(384,128)', [(256, 128), (384, 128)]),
    ],
)
def test_choices_are_read_as_cfg_options_are(text, values):
    assert list(read_search_range(text)[1].choices) == values
    value, asked = chosen(text, 'high')
    assert value == values[-1]
    assert all(isinstance(each, str) for each in asked['choices'])


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('model.neck.num_layers', 'KEY=RANGE'),
        ('=int:1:2', 'KEY=RANGE'),
        ('a=int', 'KEY=RANGE'),
        ('a=normal:0:1', "'normal:0:1' is none of"),
        ('a=log:1:2:3', "'log:1:2:3' is none of"),
        ('a=int:1:2:3:4', 'is none of'),
        ('a=int:1:x', "whole numbers, got '1:x'"),
        ('a=int:1.5:3', 'whole numbers'),
        ('a=float:low:high', "numbers, got 'low:high'"),
        ('a=float:2:1', 'less than the second'),
        ('a=int:1:1', 'less than the second'),
        ('a=float:nan:1', 'less than the second'),
        ('a=float:0:inf', 'less than the second'),
        ('a=log:0:1', 'starts above 0'),
        ('a=int:1:10:4', 'step must divide 9'),
        ('a=int:1:10:0', 'step must divide 9'),
        ('a=choice:1', 'two or more'),
        ('a=choice:1,1', 'two or more'),
        ('a=choice:[1,2', 'do not match'),
    ],
)
def test_what_is_refused(text, expected):
    with pytest.raises(ValueError, match=expected) as error:
        read_search_range(text)
    assert repr(text) in str(error.value)
