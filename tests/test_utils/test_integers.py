"""Only whole numbers of 64 bits pass, whatever they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionreid.utils.integers import LARGEST, UNKNOWN, as_integer, as_integers, clamp_unknown


@pytest.mark.parametrize('value', [7, np.int16(7), np.uint64(7), torch.tensor(7), np.array(7)])
def test_integers_of_every_kind_become_those_of_python(value):
    number = as_integer(value, 'a person id')
    assert type(number) is int
    assert number == 7


@pytest.mark.parametrize('value', [LARGEST, -LARGEST, 0])
def test_numbers_of_64_bits_fit(value: int):
    assert as_integer(value, 'a person id') == value


@pytest.mark.parametrize(
    'value',
    [True, np.bool_(False), 1.0, np.float32(2), torch.tensor(1.0), '7', None, [7], LARGEST + 1],
)
def test_everything_else_is_refused(value):
    with pytest.raises(ValueError, match=r'^a person id must be whole, of 64 bits, got '):
        as_integer(value, 'a person id')


@pytest.mark.parametrize(
    'values', [[1, 2, 3], (1, 2, 3), np.array([1, 2, 3]), torch.tensor([1, 2, 3]), range(1, 4)]
)
def test_several_integers(values):
    numbers = as_integers(values, 'person ids')
    assert numbers == [1, 2, 3]
    assert {type(number) for number in numbers} == {int}


@pytest.mark.parametrize('values', [7, torch.tensor(7), np.array(7), '123', None])
def test_one_number_is_not_several(values):
    with pytest.raises(ValueError, match=r'^person ids must be several numbers, got '):
        as_integers(values, 'person ids')


@pytest.mark.parametrize('values', [[1, 2.5], np.array([0.5]), torch.tensor([True]), [[1], [2]]])
def test_one_that_is_none_among_several_is_refused(values):
    with pytest.raises(ValueError, match=r'^person ids must be whole'):
        as_integers(values, 'person ids')


def test_a_caller_chooses_the_exception():
    with pytest.raises(KeyError, match='a person id must be whole'):
        as_integer('7', 'a person id', KeyError)
    with pytest.raises(KeyError, match='person ids must be whole'):
        as_integers(['7'], 'person ids', KeyError)
    with pytest.raises(KeyError, match='person ids must be several'):
        as_integers('7', 'person ids', KeyError)


def test_all_negative_numbers_mean_unknown():
    assert clamp_unknown([5, 0, -1, -100]) == [5, 0, UNKNOWN, UNKNOWN]
