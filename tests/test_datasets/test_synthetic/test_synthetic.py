from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_runs import refused

from fusionreid.cli.main import run_command
from fusionreid.datasets import MSMT17, DukeMTMCReID, Market1501
from fusionreid.datasets.synthetic import (
    MAX_CAMERAS,
    Identity,
    SyntheticConfig,
    identity,
    render_data_set,
    sample_identities,
    writer,
)
from fusionreid.datasets.synthetic.figure import Pose, place_parts
from fusionreid.datasets.synthetic.layout import plan_data_set
from fusionreid.datasets.synthetic.raster import render_parts
from fusionreid.datasets.synthetic.texture import bake_atlas

SMALL = SyntheticConfig(ids_train=4, ids_test=3, images_per_camera=2, cameras=3, seed=3)
MARKET_NAME = re.compile(r'(-1|\d{4})_c([1-6])s([1-6])_(\d{6})_(\d{2})\.jpg')


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob('*')
        if path.is_file()
    }


@pytest.fixture(scope='module')
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('synthetic') / 'market'
    assert render_data_set(out, SMALL, workers=1)
    return out


def parsed(folder: Path) -> list[tuple[int, int]]:
    matches = [MARKET_NAME.fullmatch(path.name) for path in sorted(folder.iterdir())]
    assert all(matches)
    return [(int(match[1]), int(match[2])) for match in matches]


# People


def test_no_two_people_look_alike():
    people = sample_identities(400, seed=0)
    assert len({astuple(person) for person in people}) == 400
    visible = [
        [value for name, value in vars(person).items() if name not in ('height', 'bag_color')]
        for person in people
    ]
    codes = np.array([[hash(value) for value in row] for row in visible])
    differences = (codes[:, None] != codes[None]).sum(-1) + 99 * np.eye(400, dtype=int)
    assert differences.min() >= 3


def test_people_share_garment_colors():
    people = sample_identities(60, seed=0)
    groups = defaultdict(int)
    for person in people:
        groups[person.upper_color, person.lower_color] += 1
    sharing = sum(count for count in groups.values() if count > 1)
    assert sharing > 30


def test_more_people_do_not_change_the_first_ones():
    assert sample_identities(50, seed=4)[:20] == sample_identities(20, seed=4)
    assert sample_identities(20, seed=5) != sample_identities(20, seed=4)


def test_too_many_people_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, 'MIN_VISIBLE_DIFFERENCES', 99)
    monkeypatch.setattr(identity, '_ATTEMPTS', 5)
    with pytest.raises(ValueError, match='fewer identities'):
        sample_identities(2, seed=0)
    with pytest.raises(ValueError, match='num=-1'):
        sample_identities(-1, seed=0)


# The figure


def plain_person(**changes) -> Identity:
    return replace(
        sample_identities(1, seed=0)[0],
        **{
            'upper': 'tshirt', 'upper_pattern': 'plain', 'upper_color': 'white', 'bag': 'none',
            'lower': 'trousers', 'lower_pattern': 'plain', 'lower_color': 'black',
            'hat': 'none', 'hair_style': 'short', 'hair_color': 'black', 'skin': 0,
            'boots': False, 'shoes': 'white', 'height': 1.72, 'width': 1.0, **changes,
        },
    )  # fmt: skip


def drawn(person: Identity, yaw: float = 0.0, phase: float = 0.0, stride: float = 0.4):
    atlas = bake_atlas(person, 1.0)
    parts = place_parts(person, Pose(phase, stride, 'swing', 0.0))
    return render_parts(parts, atlas, yaw, 0.1, 120.0, (64.0, 236.0), (256, 128), (0.2, 0.4, 0.9))


def test_figure_is_as_tall_as_the_person():
    _, mask = drawn(plain_person(), stride=0.02)
    rows = np.flatnonzero(mask.any(1))
    assert np.ptp(rows) + 1 == pytest.approx(1.72 * 120, rel=0.05)
    assert rows.max() == pytest.approx(236, abs=6)


def test_face_is_seen_from_the_front_and_hair_from_the_back():
    front, mask = drawn(plain_person())
    back, _ = drawn(plain_person(), yaw=np.pi)
    top = int(np.flatnonzero(mask.any(1)).min())
    head = (slice(top + 8, top + 20), slice(58, 70))
    assert front[head].mean() > 2 * back[head].mean()


def test_backpack_is_seen_from_the_back_only():
    def bag_pixels(yaw: float) -> int:
        with_bag, _ = drawn(plain_person(bag='backpack', bag_color='red'), yaw)
        return int(((with_bag[..., 2] > 90) & (with_bag[..., 1] < 70)).sum())

    assert bag_pixels(np.pi) > 3 * bag_pixels(0.0)


def test_walking_changes_the_legs_but_not_the_head():
    _, first = drawn(plain_person(), yaw=np.pi / 2, phase=0.0)
    _, second = drawn(plain_person(), yaw=np.pi / 2, phase=1.5)
    changed = (first != second).sum(1)
    assert changed[150:].sum() > 400
    assert changed[: 236 - int(1.55 * 120)].sum() < 250


@pytest.mark.parametrize(
    'changes',
    [
        {'upper_pattern': 'stripes_h'}, {'upper_pattern': 'stripes_v'}, {'upper_pattern': 'checks'},
        {'upper_pattern': 'dots'}, {'upper_pattern': 'logo'}, {'upper_pattern': 'two_tone'},
        {'upper_pattern': 'sleeves'}, {'upper_pattern': 'sash'}, {'upper_pattern': 'band'},
        {'upper': 'shirt'}, {'upper': 'hoodie'}, {'upper': 'jacket'}, {'upper': 'coat'},
        {'upper': 'dress'}, {'lower': 'slim'}, {'lower': 'shorts'}, {'lower': 'skirt'},
        {'lower': 'long_skirt'}, {'lower_pattern': 'side_stripe'}, {'lower_pattern': 'checks'},
        {'lower_pattern': 'turn_ups'}, {'lower_color': 'denim'}, {'hair_style': 'bald'},
        {'hair_style': 'bob'}, {'hair_style': 'long'}, {'hair_style': 'ponytail'},
        {'hair_style': 'bun'}, {'hair_style': 'afro'}, {'hat': 'cap'}, {'hat': 'beanie'},
        {'hat': 'brim'}, {'bag': 'backpack'}, {'bag': 'shoulder'}, {'bag': 'handbag'},
        {'boots': True, 'shoes': 'brown'}, {'width': 1.36}, {'skin': 4}, {'hair_color': 'blond'},
        {'mark': 'stripes', 'mark_color': 'orange'},
        {'mark': 'dots', 'mark_place': 'waist', 'mark_color': 'black'},
        {'mark': 'checks', 'mark_place': 'sleeve', 'mark_color': 'orange'},
        {'mark': 'solid', 'mark_place': 'shin', 'mark_color': 'turquoise'},
        {'mark': 'solid', 'mark_place': 'thigh', 'mark_color': 'turquoise'},
    ],
    ids=lambda changes: '-'.join(map(str, changes.values())),
)  # fmt: skip
def test_every_attribute_can_be_seen_at_64_pixels(changes: dict):
    plain, other = plain_person(upper_accent='red'), plain_person(upper_accent='red', **changes)
    difference = 0
    for yaw in (0.8, 0.8 + np.pi):
        small = [
            cv2.resize(drawn(person, yaw)[0], (64, 128), interpolation=cv2.INTER_AREA).astype(int)
            for person in (plain, other)
        ]
        difference = max(difference, (np.abs(small[0] - small[1]).max(-1) > 24).sum())
    assert difference >= 12


# The plan


def test_test_images_do_not_depend_on_the_number_of_training_people(market: Path, tmp_path: Path):
    render_data_set(tmp_path / 'fewer', replace(SMALL, ids_train=1), workers=1)
    for folder in ('query', 'bounding_box_test'):
        assert digests(tmp_path / 'fewer' / folder) == digests(market / folder)


@pytest.mark.parametrize('layout', sorted(MAX_CAMERAS))
def test_paths_are_unique_and_cameras_all_used(layout: str):
    plan = plan_data_set(layout, 30, 20, 3, MAX_CAMERAS[layout], 1, True)
    assert len({image.path for image in plan.images}) == len(plan.images)
    assert {image.camera for image in plan.images} == set(range(MAX_CAMERAS[layout]))
    drawn_from = [
        (image.person, image.camera, image.image)
        for image in plan.images
        if image.person is not None
    ]
    assert len(set(drawn_from)) == len(drawn_from)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'ids_train': 0}, 'ids_train must be from 1 to 9999, got 0'),
        ({'ids_test': -3}, 'ids_test .* got -3'),
        ({'ids_train': 9000, 'ids_test': 1000}, 'ids_train \\+ ids_test must not exceed 9999'),
        ({'images_per_camera': 1}, 'images_per_camera must be from 2'),
        ({'cameras': 1}, 'cameras must be from 2 to 6'),
        ({'cameras': 7}, 'cameras must be from 2 to 6 .*market1501.*got 7'),
        ({'seed': -1}, 'seed .* got -1'),
        ({'height': 20}, 'height must be from 64 to 512, got 20'),
        ({'width': 9999}, 'width .* got 9999'),
        ({'layout': 'cuhk03'}, "layout must be one of market1501, .* got 'cuhk03'"),
    ],
)
def test_bad_parameters_are_named(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        render_data_set(tmp_path / 'out', replace(SMALL, **changes))
    assert not list(tmp_path.iterdir())


# The files


def test_same_seed_same_bytes_for_any_number_of_workers(market: Path, tmp_path: Path):
    assert render_data_set(tmp_path / 'again', SMALL, workers=2)
    assert digests(tmp_path / 'again') == digests(market)


@pytest.mark.slow
def test_other_seed_other_images(market: Path, tmp_path: Path):
    render_data_set(tmp_path / 'other', replace(SMALL, seed=4), workers=1)
    ours = {value for name, value in digests(market).items() if name.endswith('.jpg')}
    theirs = {value for name, value in digests(tmp_path / 'other').items() if name.endswith('.jpg')}
    assert not ours & theirs


def test_market_layout(market: Path):
    train, query, gallery = (
        parsed(market / name) for name in ('bounding_box_train', 'query', 'bounding_box_test')
    )
    train_ids, query_ids = {pid for pid, _ in train}, {pid for pid, _ in query}
    assert len(train_ids) == 4
    assert len(query_ids) == 3
    assert not train_ids & query_ids
    assert {pid for pid, _ in gallery} == query_ids | {0, -1}
    assert len(query) == len(set(query))  # one per person and camera
    for pid, camera in query:
        assert any(other == pid and seen != camera for other, seen in gallery)
    assert {camera for _, camera in train + query + gallery} == {1, 2, 3}


def test_data_set_class_reads_it(market: Path):
    train = Market1501(str(market), 'train')
    test = Market1501(str(market), 'test')
    assert train.num_ids == 4
    assert test.num_ids == 3
    assert {test[i]['role'] for i in range(len(test))} == {'query', 'gallery'}


def test_images_have_the_size_and_are_not_blank(market: Path):
    paths = sorted(market.rglob('*.jpg'))
    assert len(paths) == json.loads((market / 'synthetic.json').read_text())['num_images']
    for path in paths:
        image = cv2.imread(str(path))
        assert image.shape == (128, 64, 3)
        assert image.std() > 6, path
        assert 15 < image.mean() < 240, path


def test_other_size_and_no_distractors(tmp_path: Path):
    config = replace(SMALL, ids_train=1, ids_test=1, height=256, width=128, distractors=False)
    render_data_set(tmp_path / 'large', config, workers=1)
    gallery = parsed(tmp_path / 'large' / 'bounding_box_test')
    assert {pid for pid, _ in gallery} == {1}
    image = cv2.imread(str(next((tmp_path / 'large' / 'query').iterdir())))
    assert image.shape == (256, 128, 3)


def test_msmt17_layout(tmp_path: Path):
    config = replace(SMALL, layout='msmt17', cameras=4, ids_train=3, ids_test=2)
    render_data_set(tmp_path / 'msmt17', config, workers=1)
    root = tmp_path / 'msmt17'
    lists = {
        name: [line.split() for line in (root / f'list_{name}.txt').read_text().splitlines()]
        for name in ('train', 'val', 'query', 'gallery')
    }
    for name, lines in lists.items():
        folder = root / ('train' if name in ('train', 'val') else 'test')
        for path, label in lines:
            assert (folder / path).is_file()
            assert int(Path(path).parent.name) == int(label) == int(Path(path).name[:4])
            assert 1 <= int(Path(path).name.split('_')[2]) <= 15
    assert {label for _, label in lists['val']} <= {label for _, label in lists['train']}
    assert {label for _, label in lists['train']} == {'0', '1', '2'}
    listed = sum(len(lines) for lines in lists.values())
    assert listed == len(list(root.rglob('*.jpg')))
    assert lists['val']
    data_set = MSMT17(str(root), 'train', train_split='train+val')
    assert (data_set.num_ids, len(data_set)) == (3, len(lists['train']) + len(lists['val']))
    assert MSMT17(str(root), 'test').num_ids == 2


def test_dukemtmc_layout(tmp_path: Path):
    config = replace(SMALL, layout='dukemtmc', ids_train=2, ids_test=2)
    render_data_set(tmp_path / 'duke', config, workers=1)
    names = [path.name for path in (tmp_path / 'duke').rglob('*.jpg')]
    assert all(re.fullmatch(r'\d{4}_c[1-8]_f\d{7}\.jpg', name) for name in names)
    assert DukeMTMCReID(str(tmp_path / 'duke'), 'train').num_ids == 2
    assert DukeMTMCReID(str(tmp_path / 'duke'), 'test').num_ids == 2


# Repeating, failing


def test_repeating_does_nothing(market: Path):
    before = {path: path.stat().st_mtime_ns for path in market.rglob('*')}
    assert not render_data_set(market, SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in market.rglob('*')}


def test_other_parameters_or_files_are_never_overwritten(market: Path, tmp_path: Path):
    with pytest.raises(FileExistsError, match='seed 3 instead of 8'):
        render_data_set(market, replace(SMALL, seed=8))
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('years of work')
    with pytest.raises(FileExistsError, match='not a rendered data set'):
        render_data_set(tmp_path / 'mine', SMALL)
    assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['thesis.txt']
    (tmp_path / 'file').write_text('')
    with pytest.raises(FileExistsError, match='not a rendered data set'):
        render_data_set(tmp_path / 'file', SMALL)


def test_incomplete_or_damaged_data_set_is_noticed(tmp_path: Path):
    config = replace(SMALL, ids_train=1, ids_test=1)
    out = tmp_path / 'out'
    out.mkdir()  # an empty folder may be filled
    assert render_data_set(out, config, workers=1)
    next((out / 'query').iterdir()).unlink()
    with pytest.raises(FileExistsError, match='should hold'):
        render_data_set(out, config)
    (out / 'synthetic.json').write_text('{')
    with pytest.raises(FileExistsError, match='cannot be read'):
        render_data_set(out, config)


@pytest.mark.parametrize('workers', [1, 2])
def test_failure_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
):
    def fail(*args, **kwargs):
        raise OSError('disk full')

    monkeypatch.setattr(writer, 'render_image', fail)
    with pytest.raises(OSError, match='disk full'):
        render_data_set(tmp_path / 'out', SMALL, workers=workers)
    assert not list(tmp_path.iterdir())


def test_progress_runs_from_nothing_to_everything(tmp_path: Path):
    calls = []
    config = replace(SMALL, ids_train=1, ids_test=1)
    render_data_set(tmp_path / 'out', config, 1, lambda done, total: calls.append((done, total)))
    total = calls[0][1]
    assert calls[0] == (0, total)
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)


def test_command_line(tmp_path: Path, market: Path, capsys: pytest.CaptureFixture):
    arguments = [
        '--ids-train',
        '4',
        '--ids-test',
        '3',
        '--images-per-camera',
        '2',
        '--cameras',
        '3',
        '--seed',
        '3',
        '--workers',
        '2',
    ]
    out = str(tmp_path / 'out')
    assert run_command('render', [out, *arguments]) == 0
    assert '100%' in capsys.readouterr().err
    assert digests(tmp_path / 'out') == digests(market)
    assert run_command('render', [out, *arguments]) == 0
    assert 'already holds this data set' in capsys.readouterr().out
    assert refused('render', [out, '--seed', '4']).startswith(f'error: {out} holds a data set')
    message = refused('render', [str(tmp_path / 'new'), '--cameras', '9'])
    assert message.startswith('error: cameras must be from 2 to 6')
    with pytest.raises(SystemExit):
        run_command('render', [str(tmp_path / 'new'), '--layout', 'cuhk03'])
