from __future__ import annotations

import numpy as np
import pytest

from fusionreid.datasets.transforms import RandomHorizontalFlip
from fusionreid.registry import TRANSFORMS


def test_mirrors_the_images_that_mmcv_mirrors() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    kept = image.copy()
    for prob in (0.0, 0.3, 0.5, 1.0):
        ours = RandomHorizontalFlip(prob)
        theirs = TRANSFORMS.build(dict(type='mmcv.RandomFlip', prob=prob))
        for seed in range(40):
            np.random.seed(seed)
            flipped = ours(dict(img=image))
            after = np.random.random_sample()
            np.random.seed(seed)
            expected = theirs(dict(img=image, img_shape=(6, 4)))
            assert np.array_equal(flipped['img'], expected['img'])
            assert flipped['flip'] == expected['flip']
            assert np.random.random_sample() == after
    assert np.array_equal(image, kept)


def test_handed_on_in_order_and_about_half() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    np.random.seed(0)
    results = [RandomHorizontalFlip()(dict(img=image)) for _ in range(400)]
    assert 160 < sum(result['flip'] for result in results) < 240
    assert all(result['img'].flags.c_contiguous for result in results)


def test_bad_probability() -> None:
    with pytest.raises(ValueError, match=r'in \[0, 1\], but is 1.5'):
        RandomHorizontalFlip(1.5)
    assert 'prob=0.5' in repr(RandomHorizontalFlip())
