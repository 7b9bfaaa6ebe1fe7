"""Worlds: other people in other clothes, before other cameras."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusionreid.cli.main import run_command
from fusionreid.datasets import MarketStyleDataset
from fusionreid.datasets.synthetic import (
    WORLDS,
    SyntheticConfig,
    read_plan,
    render_data_set,
    render_silhouettes,
    sample_identities,
)
from fusionreid.errors import ConfigError, DatasetExistsError

SMALL = SyntheticConfig(ids_train=2, ids_test=2, images_per_camera=2, cameras=2, distractors=False)


@pytest.fixture(scope='module')
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('worlds')
    for world in WORLDS:
        assert render_data_set(folder / world, replace(SMALL, world=world), workers=1)
    return {world: folder / world for world in WORLDS}


def colors(root: Path) -> np.ndarray:
    """Mean color and deviation of each image."""
    paths = (path for path in sorted(root.rglob('*.jpg')))
    return np.array([np.concatenate(cv2.meanStdDev(cv2.imread(str(path)))) for path in paths])


def test_each_world_has_a_look_of_its_own(rendered):
    looks = {world: colors(root).mean(0).ravel() for world, root in rendered.items()}
    for world, look in looks.items():
        others = [np.abs(look - other).max() for name, other in looks.items() if name != world]
        assert min(others) > 12, world
    assert looks['night'][:3].mean() < 0.6 * min(
        looks['mall'][:3].mean(), looks['winter'][:3].mean()
    )


def test_nobody_is_in_two_worlds_and_clothes_are_those_of_the_world():
    everybody = set()
    for world in WORLDS.values():
        people = sample_identities(80, 5 + world.first_seed, world.choices)
        for attribute, values in world.choices.items():
            worn = {getattr(person, attribute) for person in people if person.upper != 'dress'}
            # What looks the same is folded together, by a few common values.
            assert len(worn & values.keys()) > 1
            assert len(worn - values.keys()) <= 2, (world.name, attribute, worn)
        everybody |= {astuple(person) for person in people}
    assert len(everybody) == 80 * len(WORLDS)


def test_a_folder_knows_its_world(rendered, tmp_path):
    assert 'world' not in json.loads((rendered['street'] / 'synthetic.json').read_text())
    assert json.loads((rendered['night'] / 'synthetic.json').read_text())['world'] == 'night'
    for world, root in rendered.items():
        config = replace(SMALL, world=world)
        assert not render_data_set(root, config)
        for other in WORLDS.keys() - {world}:
            with pytest.raises(DatasetExistsError, match=f'world {world!r} instead of {other!r}'):
                render_data_set(root, replace(config, world=other))
        # The plan and the silhouettes are made again from what the folder says.
        planned = read_plan(root).images[0]
        ((path, mask),) = render_silhouettes(root, [planned.path])
        seen = cv2.imread(str(root / path)).astype(float)
        assert mask.shape == seen.shape[:2]
        assert (mask > 127).mean() > 0.05
        dataset = MarketStyleDataset(str(root))
        assert (dataset.num_ids, dataset.num_cameras) == (2, 2)
    with pytest.raises(ConfigError, match="one of street, winter, mall, night, got 'moon'"):
        render_data_set(tmp_path / 'moon', replace(SMALL, world='moon'))


def test_the_command_renders_the_same_world(rendered, tmp_path):
    out = tmp_path / 'night'
    arguments = (
        '--ids-train 2 --ids-test 2 --images-per-camera 2 --cameras 2 --no-distractors --workers 1'
    )
    assert not run_command('render', [str(out), *arguments.split(), '--world', 'night'])
    for path in rendered['night'].rglob('*.*'):
        assert (out / path.relative_to(rendered['night'])).read_bytes() == path.read_bytes()
