"""The further augmentations of the field, as the documentation lists them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from tiny_runs import ROOT

from fusionreid.datasets.seeded_augmentation import seeded_augmentation
from fusionreid.datasets.transforms import RandomColorJitter, RandomGrayscalePatch
from fusionreid.registry import TRANSFORMS

PAGE = (ROOT / 'docs' / 'augmentation.md').read_text()
LINES = re.findall(r'^    (dict\(type=.*\)),', PAGE.split(']\n```')[0], re.M)


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """A colorful picture with smooth and sharp parts."""
    rows, columns = np.mgrid[:128, :64]
    return np.stack([2 * columns, rows, 255 * ((rows // 16 + columns // 16) % 2)], -1).astype(
        np.uint8
    )


@pytest.mark.parametrize('line', LINES)
def test_each_line_of_the_page(line, image):
    with DefaultScope.overwrite_default_scope('fusionreid'):
        transform = TRANSFORMS.build(eval(line))

    def draw(seed: int) -> np.ndarray:
        before = image.copy()
        with seeded_augmentation(seed):
            result = transform(dict(img=before))['img']
        assert np.array_equal(before, image)  # it may belong to a cache
        assert (result.shape, result.dtype) == (image.shape, np.uint8)
        return result

    results = [draw(seed) for seed in range(60)]
    changed = sum(not np.array_equal(result, image) for result in results)
    assert 0 < changed < 60
    # The seed says all.
    assert all(np.array_equal(draw(seed), results[seed]) for seed in range(0, 60, 7))


def test_the_page_lists_all_kinds():
    kinds = [eval(line)['type'] for line in LINES]
    assert kinds == [
        *['PolicyAugment'] * 3,
        'RandomColorJitter',
        'RandomGrayscalePatch',
        'mmpretrain.Cutout',
    ]


def test_the_hue_turns_both_ways():
    red = np.full((4, 4, 3), (200, 40, 40), np.uint8)
    jitter = RandomColorJitter(hue=0.1, prob=1)
    np.random.seed(0)
    seen = np.array([jitter(dict(img=red))['img'][0, 0] for _ in range(60)], int)
    greener, bluer = seen[:, 1] > 45, seen[:, 2] > 45
    assert 10 < greener.sum() < 50
    assert 10 < bluer.sum() < 50
    assert not (greener & bluer).any()
    assert np.abs(seen.max(1) - 200).max() <= 2  # the brightness stays


def test_a_gray_rectangle_and_nothing_else(image):
    transform = RandomGrayscalePatch(prob=1, whole_prob=0, area=(0.1, 0.2), aspect=(1, 1))
    np.random.seed(0)
    result = transform(dict(img=image))['img']
    gray = (result == result[..., :1]).all(-1)
    changed = (result != image).any(-1)
    assert gray[changed].all()
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    share = np.ptp(rows) * np.ptp(columns) / changed.size
    assert 0.08 < share < 0.21
    whole = RandomGrayscalePatch(prob=0, whole_prob=1)(dict(img=image))['img']
    assert (whole == whole[..., :1]).all()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='PolicyAugment', policy='moon'), "no policy 'moon'"),
        (dict(type='PolicyAugment', prob=2), r'prob must be in \[0, 1\]'),
        (dict(type='RandomColorJitter', hue=0.6), r'hue must be in \[0, 0.5\]'),
        (dict(type='RandomColorJitter', contrast=-1), 'contrast must be'),
        (
            dict(type='RandomGrayscalePatch', whole_prob=1.2),
            'whole_prob of RandomGrayscalePatch must be',
        ),
        (
            dict(type='RandomGrayscalePatch', area=(0.5, 0.2)),
            'area of RandomGrayscalePatch must be',
        ),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(config)
