from __future__ import annotations

import pytest
from image_trees import write_csv

from fusionreid.config import fill_in_counts, open_counts, read_config, take_counts
from fusionreid.errors import DatasetError

CLASSES = 'model.head.num_classes'
CAMERAS = 'model.branches.transformer.backbone.num_cameras'
ROWS = [
    'a.jpg,anna,0,train',
    'b.jpg,ben,1,train',
    'c.jpg,chris,4,train',
    'd.jpg,dora,0,query',
    'e.jpg,dora,1,gallery',
]


@pytest.mark.parametrize(
    ('model', 'expected'),
    [
        (dict(branches=dict()), []),
        (dict(branches=dict(cnn=None), head=None), []),
        (dict(branches=dict(cnn=dict(backbone=dict())), head=dict()), []),
        (dict(branches=dict(cnn=dict(backbone=dict(num_cameras=6))), head=dict(num_classes=3)), []),
        (
            dict(
                branches=dict(
                    a=dict(backbone=dict(num_cameras=None)),
                    b=dict(backbone=dict(num_cameras=0)),
                    c=dict(backbone=dict(num_cameras=None)),
                ),
                head=dict(num_classes=None),
            ),
            [CLASSES, *(f'model.branches.{name}.backbone.num_cameras' for name in 'ac')],
        ),
    ],
)
def test_open_counts(model, expected):
    assert open_counts(model) == expected


def test_configs_for_own_data_leave_both_open():
    assert open_counts(read_config('fusionreid_vitb_r50_custom_csv').model) == [CLASSES, CAMERAS]
    assert open_counts(read_config('fusionreid_vitb_r50_market1501').model) == []


def own_config(data_root):
    cfg = read_config('fusionreid_vitb_r50_custom_csv')
    cfg.train_dataloader.dataset.data_root = str(data_root)
    return cfg


def test_counts_are_those_of_the_training_set(tmp_path):
    cfg = own_config(write_csv(tmp_path / 'people', ROWS))
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert fill_in_counts(cfg) == {CLASSES: 3, CAMERAS: 5}
    assert cfg.model.head.num_classes == 3
    assert cfg.model.branches.transformer.backbone.num_cameras == 5
    assert cfg.train_dataloader.dataset.pipeline == pipeline
    assert fill_in_counts(cfg) == {}


def test_a_count_that_was_given_stays(tmp_path):
    cfg = own_config(write_csv(tmp_path / 'people', ROWS))
    cfg.model.head.num_classes = 7
    assert fill_in_counts(cfg) == {CAMERAS: 5}
    assert cfg.model.head.num_classes == 7


def test_people_that_are_not_there(tmp_path):
    with pytest.raises(DatasetError, match='missing'):
        fill_in_counts(own_config(tmp_path / 'missing'))


def test_a_config_without_open_counts_reads_no_data(tmp_path):
    cfg = own_config(tmp_path / 'missing')
    cfg.model.head.num_classes = cfg.model.branches.transformer.backbone.num_cameras = 2
    assert fill_in_counts(cfg) == {}


def test_counts_of_a_trained_model_are_taken_where_they_are_open(tmp_path):
    cfg = own_config(tmp_path / 'missing')
    cfg.model.head.num_classes = 7
    trained = own_config(tmp_path / 'missing')
    trained.merge_from_dict({CLASSES: 3, CAMERAS: 5})
    take_counts(cfg, trained.model.to_dict())
    assert (cfg.model.head.num_classes, open_counts(cfg.model)) == (7, [])
    assert cfg.model.branches.transformer.backbone.num_cameras == 5


@pytest.mark.parametrize('model', [{}, dict(branches=3), dict(branches=dict(transformer=None))])
def test_a_config_that_says_nothing_leaves_counts_open(model, tmp_path):
    cfg = own_config(tmp_path / 'missing')
    take_counts(cfg, model)
    assert open_counts(cfg.model) == [CLASSES, CAMERAS]
