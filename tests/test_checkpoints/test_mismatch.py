"""What is said about a state dict that is not the model's."""

import torch

from fusionreid.checkpoints.mismatch import describe_mismatch

MODEL = {'a': torch.zeros(2, 3), 'b': torch.zeros(4), 'c': torch.zeros(())}


def test_what_fits_has_no_misfit():
    assert describe_mismatch(MODEL, {name: value + 1 for name, value in MODEL.items()}) == ''


def test_missing_surplus_and_reshaped_weights_are_named():
    given = {'a': torch.zeros(3, 2), 'c': 7, 'd': torch.zeros(1)}
    assert describe_mismatch(MODEL, given) == (
        'b is missing; d is left over; a has shape (3, 2), the model (2, 3)'
    )


def test_only_the_first_few_are_named():
    given = {f'x{number}': torch.zeros(1) for number in range(4)}
    text = describe_mismatch(MODEL, given)
    assert text == 'a is missing; b is missing; c is missing; x0 is left over and 3 more'
    assert 'more' not in describe_mismatch(MODEL, {'x': torch.zeros(1)})
