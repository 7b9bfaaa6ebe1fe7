"""Data sets that are trained on together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import dataset_trees
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_runs import refused, render_tiny, write_tiny_config
from warm_processes import run

from fusionreid.cli.main import run_command
from fusionreid.datasets import JointDataset, MarketStyleDataset
from fusionreid.datasets.samplers import PKSampler, pk_sampler
from fusionreid.datasets.samplers.shared_batches import plan_shared_batches, share_identities
from fusionreid.errors import ConfigError, DatasetNotFoundError


@pytest.fixture(scope='module')
def roots(tmp_path_factory) -> list[Path]:
    """Three small data sets; of the last all but three people are taken away."""
    folder = tmp_path_factory.mktemp('joint')
    roots = [render_tiny(folder / name) for name in ('street', 'hall', 'gate')]
    kept = sorted({path.name[:4] for path in (roots[2] / 'bounding_box_train').iterdir()})[:3]
    for path in (roots[2] / 'bounding_box_train').iterdir():
        if path.name[:4] not in kept:
            path.unlink()
    return roots


def configs(roots: list[Path]) -> list[dict]:
    return [dict(type='MarketStyleDataset', data_root=str(root)) for root in roots]


def test_people_and_cameras_follow_those_of_the_set_before(roots):
    joint = JointDataset(configs(roots))
    parts = [MarketStyleDataset(str(root), dataset_name=root.name) for root in roots]
    assert len(joint) == sum(map(len, parts))
    assert joint.num_ids == sum(part.num_ids for part in parts)
    assert joint.num_cameras == sum(part.num_cameras for part in parts)
    position = first_id = first_camera = 0
    for part, told in zip(parts, joint.metainfo['joined'], strict=True):
        for index in range(len(part)):
            own, joined = part.get_data_info(index), joint.get_data_info(position)
            assert joined['img_path'] == own['img_path']
            assert joined['person_id'] == own['person_id'] + first_id
            assert joined['camera_id'] == own['camera_id'] + first_camera
            position += 1
        assert told.ids == range(first_id, first_id + part.num_ids)
        assert (told.first_camera, told.num_images) == (first_camera, len(part))
        first_id += part.num_ids
        first_camera += part.num_cameras
    assert joint.metainfo['dataset_name'] == 'street + hall + gate'
    (row,) = (note for note in joint.metainfo['notes'] if note.startswith('gate'))
    assert row.split()[1:] == f'{len(parts[2])} 3 {first_id - 3} - {first_id - 1}'.split() + (
        f'{parts[2].num_cameras} {first_camera - parts[2].num_cameras} - {first_camera - 1}'.split()
    )


def test_the_cameras_of_a_set_may_count_as_one(roots):
    joint = JointDataset(configs(roots), cameras='set')
    assert joint.num_cameras == 3
    firsts = [each.first_id for each in joint.metainfo['joined']]
    sets = np.searchsorted(firsts, joint.person_ids, 'right') - 1
    assert np.array_equal(joint.camera_ids, sets)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(datasets=[]), 'needs a data set'),
        (dict(cameras='all'), "got 'all'"),
        (dict(split='test'), 'score the data sets one by one'),
        (dict(data_root='data'), 'no data_root of its own'),
    ],
)
def test_wrong_settings_are_named(arguments, message, roots):
    with pytest.raises(ConfigError, match=message):
        JointDataset(**dict(datasets=configs(roots)) | arguments)
    inner = dict(type='JointDataset', datasets=configs(roots))
    with pytest.raises(ConfigError, match='got JointDataset'):
        JointDataset([inner])
    with pytest.raises(DatasetNotFoundError, match='nowhere'):
        JointDataset(configs([*roots, Path('nowhere')]))


@pytest.mark.parametrize('world', [1, 2])
@pytest.mark.parametrize(('by', 'shares'), [('sets', [2, 1, 1]), ((1, 2, 1), [1, 2, 1])])
def test_each_set_has_its_share_of_every_batch(by, shares, world, roots, monkeypatch):
    joint = JointDataset(configs(roots))
    firsts = [each.first_id for each in joint.metainfo['joined']]
    seen: Counter[int] = Counter()
    people = []
    for rank in range(world):
        monkeypatch.setattr(pk_sampler, 'get_dist_info', lambda rank=rank: (rank, world))
        sampler = PKSampler(joint, ids_per_batch=4, instances_per_id=2, seed=3, by=by)
        batches = np.array([int(index) for index in sampler]).reshape(-1, 4, 2)
        ids = joint.person_ids[batches]
        assert (ids[..., 0] == ids[..., 1]).all()
        sets = np.searchsorted(firsts, ids[..., 0], 'right') - 1
        for row in sets:
            assert np.bincount(row, minlength=3).tolist() == shares
        seen.update(batches.flatten().tolist())
        people.append(ids[..., 0])
    for step in np.concatenate(people, 1):  # over all processes
        assert len(set(step)) == 4 * world
    # The small set starts over; its images come more often than those of the largest.
    last = [count for index, count in seen.items() if joint.person_ids[index] >= firsts[2]]
    assert max(last) > 1
    again = PKSampler(joint, ids_per_batch=4, instances_per_id=2, seed=3, by=by)
    assert list(map(int, again)) == list(map(int, sampler))


def test_one_set_is_planned_as_ever(roots):
    joint = JointDataset(configs(roots))
    first = PKSampler(joint, 4, 2, seed=1)
    assert first.images_of.keys() == set(range(joint.num_ids))
    counts = Counter(map(int, first))
    assert max(counts.values()) == 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(by='people'), "'sets' or a weight for each of the 3 data sets street, hall, gate"),
        (dict(by=[1, 1]), 'a weight for each of the 3'),
        (dict(by=[1, 1, 0]), 'above 0'),
        (dict(by=[1, 1, 4]), 'data set 2 has 3 identities, but .* want 4'),
        (dict(by='sets', ids_per_batch=2), 'leaves data set 2 none'),
    ],
)
def test_shares_that_cannot_be(arguments, message, roots):
    with pytest.raises(ConfigError, match=message):
        PKSampler(
            JointDataset(configs(roots)), **dict(ids_per_batch=6, instances_per_id=2) | arguments
        )


def test_one_data_set_cannot_be_shared(roots):
    with pytest.raises(ConfigError, match='is a MarketStyleDataset'):
        PKSampler(MarketStyleDataset(str(roots[0])), 2, 2, by='sets')


def test_an_epoch_is_as_long_as_its_longest_set():
    sets = [{0: range(40), 1: range(40, 80)}, {2: range(80, 84), 3: range(84, 88)}]
    batches = plan_shared_batches(sets, [1, 1], 1, 4, np.random.default_rng(0))
    assert batches.shape == (20, 1, 2, 4)
    assert Counter(batches[:, 0, 0].flatten().tolist()) == dict.fromkeys(range(80), 1)
    assert Counter(batches[:, 0, 1].flatten().tolist()) == dict.fromkeys(range(80, 88), 10)
    assert share_identities(7, [1, 1, 1]) == [3, 2, 2]


@pytest.mark.slow
def test_training_shows_the_table_first(roots, tmp_path, capsys):
    config = write_tiny_config(tmp_path, roots[0])
    cfg = Config.fromfile(config)
    cfg.train_dataloader.dataset = dict(
        type='JointDataset',
        datasets=configs(roots),
        pipeline=cfg.train_dataloader.dataset.pipeline,
    )
    cfg.train_dataloader.sampler.update(by='sets', ids_per_batch=4, instances_per_id=2)
    cfg.train_dataloader.batch_size = 8
    cfg.model.head.num_classes = None
    cfg.model.branches.transformer.backbone.num_cameras = None
    cfg.model.branches.cnn.backbone.domain_norm = ('street', 'hall', 'gate')
    cfg.train_cfg.max_epochs = 1
    cfg.dump(tmp_path / 'joint.py')
    command = [str(tmp_path / 'joint.py'), '--no-validate', '--work-dir', str(tmp_path / 'run')]
    # The same people were rendered three times.
    with pytest.raises(SystemExit):
        run_command('train', [*command, '--check'])
    leaks = next(line for line in capsys.readouterr()[0].splitlines() if 'two people' in line)
    assert leaks.split()[-2:] == ['126', 'error']
    assert run(['tools/train.py', *command], tmp_path / 'log') == 0
    printed = (tmp_path / 'log').read_text()
    assert printed.index('* gate') < printed.index('Epoch(train)')
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['state_dict']
    means = saved['branches.cnn.backbone.bn1.set_means']
    # The third set has other people; the first two are equal, but not so their batches.
    assert means.abs().sum(1).gt(0).all()
    assert len(means.unique(dim=0)) == 3
    cfg.model.branches.cnn.backbone.domain_norm = ('street', 'gate')
    cfg.dump(tmp_path / 'joint.py')
    assert "names the sets ['street', 'gate'], the training set joins ['street'," in refused(
        'train', [*command, '--overwrite']
    )


def test_all_images_may_train(roots, tmp_path):
    cuhk02 = dataset_trees.write_cuhk02(tmp_path / 'cuhk02')
    wanted = [*configs(roots[:1]), dict(type='CUHK02', data_root=str(cuhk02))]
    joint = JointDataset(wanted, images='all')
    market, only_training = joint.metainfo['joined']
    train, test = (MarketStyleDataset(str(roots[0]), split) for split in ('train', 'test'))
    items = [joint.get_data_info(index) for index in range(market.num_images)]
    # Everything but distractors and junk, the people of the test after the others.
    real = [test.get_data_info(i) for i in range(len(test)) if test.person_ids[i] > 0]
    assert [item['img_path'] for item in items] == [
        *(train.get_data_info(index)['img_path'] for index in range(len(train))),
        *(item['img_path'] for item in real),
    ]
    assert market.num_ids == train.num_ids + test.num_ids
    labels: dict[int, set[int]] = {}
    for item, original in zip(items[len(train) :], real, strict=True):
        labels.setdefault(original['person_id'], set()).add(item['person_id'])
    assert sorted(labels.values()) == [{train.num_ids + i} for i in range(test.num_ids)]
    # A source without a test gives what it has.
    assert only_training.num_ids == JointDataset(wanted[1:]).num_ids
    assert only_training.first_id == market.num_ids
    with pytest.raises(ConfigError, match="got 'test'"):
        JointDataset(wanted, images='test')
