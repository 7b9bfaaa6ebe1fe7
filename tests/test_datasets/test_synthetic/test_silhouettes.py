"""Silhouettes of the persons in rendered pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusionreid.datasets.synthetic import (
    SyntheticConfig,
    render_data_set,
    render_silhouettes,
    sample_identities,
)
from fusionreid.datasets.synthetic.render import World, _compose, render_silhouette
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError

CONFIG = SyntheticConfig(ids_train=2, ids_test=2, images_per_camera=2, cameras=2, seed=3)


@pytest.fixture(scope='module')
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('silhouettes') / 'market'
    render_data_set(out, CONFIG, workers=1)
    return out


@pytest.mark.slow
def test_what_changes_with_the_persons_colors_is_the_silhouette():
    """Two people of one build in the same picture: they differ where the person is seen."""
    person, *bystanders = sample_identities(4, seed=0)
    dark, light = (
        replace(
            person,
            upper_color=color,
            upper_accent=color,
            upper='coat',
            upper_pattern='plain',
            lower='trousers',
            lower_pattern='plain',
            lower_color=color,
            shoes=color,
            skin=skin,
            hat='none',
            bag='none',
            hair_style='short',
            hair_color=hair,
        )
        for color, skin, hair in (('black', -1, 'black'), ('white', 0, 'blond'))
    )
    for image_index in range(40):  # some with things or people in front
        (_, first, mask, _), (_, second, same, _) = (
            _compose(World(7, 128, 64, (who,), tuple(bystanders)), 0, 0, 0, image_index, False)
            for who in (dark, light)
        )
        assert np.array_equal(mask, same)
        changed = (cv2.absdiff(first, second) > 8).any(2)
        assert mask[changed].min() > 0
        assert changed[mask > 200].mean() > 0.85


@pytest.mark.slow
def test_things_in_front_hide_the_person():
    people = sample_identities(3, seed=0)
    world = World(1, 128, 64, tuple(people[:1]), tuple(people[1:]))
    areas = [(render_silhouette(world, 0, 0, 0, number) > 127).sum() for number in range(60)]
    assert min(areas) < 0.8 * np.median(areas) < 0.4 * 128 * 64


def test_every_picture_has_its_mask(rendered: Path):
    masks = dict(render_silhouettes(rendered))
    pictures = {str(path.relative_to(rendered)) for path in rendered.rglob('*.jpg')}
    assert set(masks) == pictures
    for path, mask in masks.items():
        assert mask.shape == (128, 64)
        assert mask.dtype == np.uint8
        if not Path(path).name.startswith(('-1', '0000')):
            assert (mask > 127).any(), path
    assert not all(mask.any() for mask in masks.values())  # false detections


def test_masks_of_some_pictures_are_those_of_all(rendered: Path):
    masks = dict(render_silhouettes(rendered))
    paths = sorted(masks)[::-7]
    some = list(render_silhouettes(rendered, paths))
    assert [path for path, _ in some] == paths
    for path, mask in some:
        assert np.array_equal(mask, masks[path])


def test_a_folder_that_was_not_rendered_so_is_refused(rendered: Path, tmp_path: Path):
    with pytest.raises(DatasetFormatError, match=r'query/me\.jpg is no picture of the rendered'):
        list(render_silhouettes(rendered, ['query/me.jpg']))
    with pytest.raises(DatasetNotFoundError, match=r'holds no synthetic\.json'):
        list(render_silhouettes(tmp_path))
    record = tmp_path / 'synthetic.json'
    shutil.copy(rendered / record.name, record)
    values = json.loads(record.read_text())
    for text, message in (
        ('{', 'cannot be read'),
        ('[1]', 'does not state'),
        ('{"seed": 1}', 'does not state'),
        (json.dumps({**values, 'renderer_version': 0}), 'by version 0 of the renderer'),
        (json.dumps({**values, 'height': 4}), 'height must be from 64 to 512, got 4'),
    ):
        record.write_text(text)
        with pytest.raises(ValueError, match=message):
            list(render_silhouettes(tmp_path))
