from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionreid.errors import ConfigError
from fusionreid.models.data_preprocessors import ReIDDataPreprocessor, random_erase
from fusionreid.models.data_preprocessors.random_erasing import seeded_normal
from fusionreid.models.data_preprocessors.random_patch import paste_patches
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.random_box import sample_erasing_box


def batch(count=3, size=(64, 32), seeds=None):
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in range(count)]
    seeds = range(count) if seeds is None else seeds
    return dict(
        inputs=images,
        data_samples=[
            ReIDDataSample(metainfo=dict(img_path=f'{s}.jpg', augment_seed=s)) for s in seeds
        ],
    )


def test_normalizes_to_the_published_range():
    data = batch()
    out = ReIDDataPreprocessor()(data)['inputs']
    expected = (torch.stack(data['inputs']).float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(out, expected)
    stacked = dict(data, inputs=torch.stack(data['inputs']))
    torch.testing.assert_close(ReIDDataPreprocessor()(stacked)['inputs'], expected)


def test_erases_in_training_only():
    preprocessor = ReIDDataPreprocessor(random_erasing=dict(probability=1.0))
    data = batch()
    plain = preprocessor(data, training=False)['inputs']
    erased = preprocessor(data, training=True)['inputs']
    changed = (plain != erased).any(1).flatten(1).float().mean(1)
    assert ((changed > 0.01) & (changed < 0.36)).all()


def test_erasing_depends_on_the_seed_alone():
    preprocessor = ReIDDataPreprocessor(random_erasing=dict(probability=1.0))
    data = batch(4)
    whole = preprocessor(data, training=True)['inputs']
    last = dict(inputs=data['inputs'][3:], data_samples=data['data_samples'][3:])
    torch.testing.assert_close(preprocessor(last, training=True)['inputs'][0], whole[3])


def test_share_and_area_of_erased_images():
    images = torch.zeros(400, 1, 32, 16)
    random_erase(images, list(range(400)), probability=0.5)
    shares = (images != 0).flatten(1).float().mean(1)
    assert 0.42 < (shares > 0).float().mean() < 0.58
    erased = shares[shares > 0]
    assert erased.min() >= 0.01
    assert erased.max() <= 1 / 3 + 0.03
    assert 0.12 < erased.mean() < 0.22  # uniform between 0.02 and 1/3 has mean 0.177
    pixels = images[images != 0]
    assert abs(pixels.mean()) < 0.04
    assert abs(pixels.std() - 1) < 0.04


def test_boxes_lie_inside_and_keep_the_aspect():
    generator = np.random.default_rng(0)
    for _ in range(200):
        top, left, height, width = sample_erasing_box(
            generator, 64, 32, (0.02, 1 / 3), (0.3, 1 / 0.3)
        )
        assert top >= 0
        assert top + height <= 64
        assert left >= 0
        assert left + width <= 32
        assert 0.2 < height / width < 4.5
    assert sample_erasing_box(generator, 2, 2, (0.9, 0.9), (1.0, 1.0)) is None


def test_seeded_normal_is_normal_and_independent():
    positions = torch.arange(100_000)
    first, second = (seeded_normal(torch.tensor([seed]), positions) for seed in (1, 2))
    for values in (first, second):
        assert abs(values.mean()) < 0.02
        assert abs(values.std() - 1) < 0.02
        assert abs((values**4).mean() - 3) < 0.15
    assert abs(torch.corrcoef(torch.stack((first, second)))[0, 1]) < 0.02
    assert abs(torch.corrcoef(torch.stack((first[1:], first[:-1])))[0, 1]) < 0.02


def test_images_of_two_sizes_are_refused():
    data = batch(2)
    data['inputs'][1] = data['inputs'][1][:, :48]
    with pytest.raises(ValueError, match=r'one size.*\(3, 48, 32\).*0.jpg'):
        ReIDDataPreprocessor()(data)


def test_samples_without_a_seed_use_numpys_generator():
    preprocessor = ReIDDataPreprocessor(random_erasing=dict(probability=1.0))
    images = batch(2)['inputs']
    outs = []
    for _ in range(2):
        np.random.seed(3)
        outs.append(preprocessor(dict(inputs=images, data_samples=None), training=True)['inputs'])
    torch.testing.assert_close(*outs)


def test_a_batch_without_images_names_the_transform_that_is_missing():
    with pytest.raises(ConfigError, match='a batch has img_path, but no images: .*PackReIDInputs'):
        ReIDDataPreprocessor()(dict(img_path=['a.jpg']))


def test_patches_come_from_other_images_of_the_batch():
    """Each image has one gray value, so that a pasted pixel says where it is from."""
    count = 40
    images = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).repeat(1, 3, 64, 32)
    samples = [ReIDDataSample(metainfo=dict(augment_seed=seed)) for seed in range(count)]
    preprocessor = ReIDDataPreprocessor(mean=[0], std=[1], random_patch=dict(probability=0.5))
    data = dict(inputs=images, data_samples=samples)
    out = preprocessor(data, training=True)['inputs']
    assert torch.equal(preprocessor(data)['inputs'], images.float())
    assert torch.equal(preprocessor(data, training=True)['inputs'], out)
    assert torch.equal(images[:, 0, 0, 0], torch.arange(count, dtype=torch.uint8))
    own = torch.arange(count).view(-1, 1, 1, 1)
    shares = (out != own).flatten(1).float().mean(1)
    assert 0.25 < (shares > 0).float().mean() < 0.75
    assert shares.max() <= 0.55
    for index in shares.nonzero().flatten():
        assert len(out[index].unique()) == 2  # its own value and that of one other image


def test_a_patch_is_a_part_of_its_source_or_the_mirror_of_one():
    images = torch.rand(2, 1, 16, 8)
    for flip in (0.0, 1.0):
        pasted = paste_patches(
            images.clone(), [3, 3], probability=1, area=(0.2, 0.3), flip_probability=flip
        )
        changed = (pasted[0, 0] != images[0, 0]).nonzero()
        (top, left), (bottom, right) = changed.min(0)[0], changed.max(0)[0] + 1
        patch = pasted[0, 0, top:bottom, left:right]
        source = images[1, 0].flip(-1) if flip else images[1, 0]
        windows = source.unfold(0, bottom - top, 1).unfold(1, right - left, 1)
        assert (windows == patch).flatten(2).all(-1).sum() == 1


def test_a_lone_image_has_no_patch():
    image = torch.rand(1, 3, 16, 8)
    assert torch.equal(paste_patches(image.clone(), [0], probability=1), image)


@pytest.mark.parametrize(
    'setting', [dict(probability=-1), dict(flip_probability=2), dict(area=(0.5, 0.1))]
)
def test_patch_settings_out_of_range(setting):
    with pytest.raises(ValueError, match=f'{next(iter(setting))} of random patch must be'):
        ReIDDataPreprocessor(random_patch=setting)
