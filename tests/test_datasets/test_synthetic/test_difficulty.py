"""Harder worlds: people who look alike, crowds, and more that stands in front."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, astuple, replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_runs import refused

from fusionreid.cli.main import run_command
from fusionreid.datasets.synthetic import (
    DIFFICULTIES,
    WORLDS,
    SyntheticConfig,
    identity,
    read_plan,
    render_data_set,
    render_silhouettes,
    sample_identities,
)
from fusionreid.datasets.synthetic.figure import Pose, place_parts
from fusionreid.datasets.synthetic.raster import render_parts
from fusionreid.datasets.synthetic.render import World, _compose, _pose, render_silhouette
from fusionreid.datasets.synthetic.texture import bake_atlas
from fusionreid.errors import ConfigError, DatasetExistsError

HARD = DIFFICULTIES['hard']
SMALL = SyntheticConfig(
    ids_train=2, ids_test=3, images_per_camera=2, cameras=2, distractors=False, difficulty='hard'
)


def people_of(world: str, num: int, seed: int = 3) -> list[identity.Identity]:
    style = WORLDS[world].harder(HARD)
    return sample_identities(num, seed, style.choices, style.difficulty.lookalikes)


@pytest.fixture(scope='module')
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('difficulty') / 'hard'
    assert render_data_set(out, SMALL, workers=1)
    return out


# People


@pytest.mark.parametrize('world', WORLDS)
def test_people_of_a_group_share_what_they_should_and_differ_in_what_is_seen(world: str):
    people, size = people_of(world, 60), HARD.lookalikes.size
    may_differ = set(HARD.lookalikes.differ_in)
    shared = {name for name in asdict(people[0]) if name not in may_differ}
    assert {'upper', 'upper_color', 'upper_pattern', 'lower', 'lower_color'} <= shared
    for start in range(0, len(people), size):
        for first, second in combinations(people[start : start + size], 2):
            differ = {
                name for name, value in asdict(first).items() if asdict(second)[name] != value
            }
            assert differ <= may_differ
            assert len(differ & set(identity._VISIBLE)) >= HARD.lookalikes.differences
            assert len(differ) <= 2 * HARD.lookalikes.redrawn + 2  # and what goes with it
    leaders = {astuple(replace(each, **dict.fromkeys(may_differ))) for each in people[::size]}
    assert len(leaders) > 10  # groups do not share


def test_look_alikes_can_be_told_apart_at_64_pixels():
    people = people_of('street', 12)
    seen = []
    for person in people:
        atlas, parts = bake_atlas(person, 1.0), place_parts(person, Pose(0.0, 0.4, 'swing', 0.0))
        views = [
            render_parts(parts, atlas, yaw, 0.1, 60.0, (32.0, 118.0), (128, 64), (0.2, 0.4, 0.9))[0]
            for yaw in (0.8, 0.8 + np.pi)
        ]
        seen.append(np.concatenate(views).astype(int))
    # How people walk is a matter of the pose, which is the same here.
    for first, second in combinations(range(12), 2):
        if first // HARD.lookalikes.size != second // HARD.lookalikes.size:
            continue
        if replace(people[first], gait='even') == replace(people[second], gait='even'):
            continue
        assert (np.abs(seen[first] - seen[second]).max(-1) > 24).sum() >= 12


def test_some_look_alikes_among_others_and_more_people_do_not_change_the_first():
    lookalikes, choices = replace(HARD.lookalikes, share=0.5), HARD.choices
    people = sample_identities(80, 0, choices, lookalikes)
    garments = [(each.upper, each.upper_color, each.lower, each.lower_color) for each in people]
    alike = [len(set(garments[start : start + 4])) == 1 for start in range(0, 80, 4)]
    assert 3 < sum(alike) < 17
    assert sample_identities(31, 0, choices, lookalikes) == people[:31]


def test_too_many_look_alikes_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, '_ATTEMPTS', 20)
    few = replace(HARD.lookalikes, differ_in=('bag',), redrawn=1, differences=1, size=9)
    with pytest.raises(ConfigError, match='fewer identities'):
        sample_identities(9, 0, HARD.choices, few)


def test_people_walk_as_their_gait_says():
    person = sample_identities(1, 0)[0]
    poses = {
        gait: _pose(np.random.default_rng(1), replace(person, gait=gait)) for gait in identity.GAITS
    }
    assert poses['long'].stride > poses['even'].stride > 2 * poses['short'].stride
    assert poses['stooped'].lean > poses['even'].lean + 0.2


# What every day looks like


def test_every_day_people_and_random_numbers_are_as_before_there_were_difficulties():
    def digest(value: object) -> str:
        return hashlib.sha256(repr(value).encode()).hexdigest()[:16]

    people = sample_identities(30, seed=2)
    assert {astuple(person)[17:] for person in people} == {('even', 'none', 'chest', 'white')}
    assert digest([astuple(person)[:17] for person in people]) == 'f972851f1f4f73f4'
    world = World(2, 64, 32, tuple(people[:4]), tuple(people[4:]))
    states = [
        _compose(world, number % 4, number % 2, 0, number, number % 5 == 4)[3].bit_generator.state[
            'state'
        ]['state']
        for number in range(24)
    ]
    assert digest(states) == 'd202294f390aceee'


# What is hidden


@pytest.mark.slow
def test_more_is_hidden_and_more_often():
    """Of the silhouette as it is without anything in front."""
    style = WORLDS['street']
    people = tuple(sample_identities(24, seed=0))
    hidden = {}
    for name in ('everyday', 'crowd'):
        clear = replace(DIFFICULTIES[name], occluded=0, in_front=0)
        seen = [
            World(1, 64, 32, people[:4], people[4:], style.harder(difficulty))
            for difficulty in (DIFFICULTIES[name], clear)
        ]
        areas = np.array(
            [
                [
                    render_silhouette(world, number % 4, number % 2, 0, number).sum(dtype=float)
                    for world in seen
                ]
                for number in range(24)
            ]
        )
        hidden[name] = 1 - areas[:, 0] / areas[:, 1]
        assert hidden[name].min() > -1e-9
        assert hidden[name].max() < 0.95
    rates = {name: (share > 0.05).mean() for name, share in hidden.items()}
    assert rates['everyday'] < 0.25
    assert 0.4 < rates['crowd'] < 0.9
    assert hidden['crowd'].mean() > 3 * hidden['everyday'].mean()


# Files


def test_same_bytes_for_any_number_of_workers_and_from_the_command(rendered: Path, tmp_path: Path):
    out = tmp_path / 'again'
    arguments = (
        '--ids-train 2 --ids-test 3 --images-per-camera 2 --cameras 2 --no-distractors '
        '--workers 2 --difficulty hard'
    )
    assert not run_command('render', [str(out), *arguments.split()])
    pictures = [path for path in rendered.rglob('*.*') if path.is_file()]
    assert len(pictures) > 20
    for path in pictures:
        assert (out / path.relative_to(rendered)).read_bytes() == path.read_bytes()


def test_a_folder_knows_its_difficulty(rendered: Path, tmp_path: Path):
    assert json.loads((rendered / 'synthetic.json').read_text())['difficulty'] == 'hard'
    assert not render_data_set(rendered, SMALL)
    for other in DIFFICULTIES.keys() - {'hard'}:
        with pytest.raises(DatasetExistsError, match=f"difficulty 'hard' instead of '{other}'"):
            render_data_set(rendered, replace(SMALL, difficulty=other))
    planned = read_plan(rendered).images[0]
    ((path, mask),) = render_silhouettes(rendered, [planned.path])
    seen = cv2.imread(str(rendered / path))
    assert mask.shape == seen.shape[:2]
    assert (mask > 127).any()
    plain = tmp_path / 'plain'
    render_data_set(plain, replace(SMALL, ids_train=1, ids_test=1, difficulty='everyday'), 1)
    assert 'difficulty' not in json.loads((plain / 'synthetic.json').read_text())


def test_an_unknown_difficulty_ends_in_one_line(tmp_path: Path):
    with pytest.raises(ConfigError, match="difficulty must be one of everyday, .* got 'moon'"):
        render_data_set(tmp_path / 'moon', replace(SMALL, difficulty='moon'))
    with pytest.raises(SystemExit):
        run_command('render', [str(tmp_path / 'moon'), '--difficulty', 'moon'])
    message = refused('render', [str(tmp_path / 'out'), '--difficulty', 'hard', '--cameras', '9'])
    assert message.startswith('error: cameras must be from 2 to 6')
    assert not list(tmp_path.iterdir())
