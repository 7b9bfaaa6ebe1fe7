"""Protocols of domain generalization on tiny copies of their data sets."""

from __future__ import annotations

import dataset_trees
import pytest
from image_trees import write_market
from mmengine.config import Config
from tiny_runs import ROOT, find_resize, shrink_model

from fusionreid.cli.main import run_command
from fusionreid.registry import DATASETS

TREES = {
    'Market1501': write_market,
    'CUHK02': dataset_trees.write_cuhk02,
    'CUHK03': dataset_trees.write_cuhk03,
    'CUHKSYSU': dataset_trees.write_cuhk_sysu,
    'PRID2011': dataset_trees.write_prid2011,
    'GRID': dataset_trees.write_grid,
    'VIPeR': dataset_trees.write_viper,
    'ILIDS': dataset_trees.write_ilids,
}


@pytest.mark.slow
def test_the_first_protocol_from_end_to_end(tmp_path, capsys):
    path = ROOT / 'configs/domain_generalization/fusionreid_vitb_r50_protocol1.py'
    cfg = Config.fromfile(path)
    train = cfg.train_dataloader.dataset
    for settings in (*train.datasets, *cfg.test_cfg.datasets, cfg.test_dataloader.dataset):
        root = tmp_path / settings.data_root
        if not root.exists():
            TREES[settings.type](root)
        settings.data_root = str(root)
    joint = DATASETS.build(dict(train, pipeline=[]))
    assert [each.name for each in joint.metainfo['joined']] == [
        'Market-1501',
        'CUHK02',
        'CUHK03',
        'CUHK-SYSU',
    ]
    cfg.model.head.num_classes = joint.num_ids
    shrink_model(cfg.model)
    cfg.model.branches.transformer.backbone.img_size = cfg.input_size = (64, 32)
    loader = cfg.test_dataloader
    loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    find_resize(loader.dataset.pipeline).scale = (32, 64)
    cfg.dump(tmp_path / 'protocol1.py')
    run_command('test', [str(tmp_path / 'protocol1.py'), '--work-dir', str(tmp_path / 'run')])
    lines = capsys.readouterr()[0].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith('data set'))
    # Every set in one table, with the deviation over its ten splits and without known cameras.
    assert 'mAP' in lines[start]
    rows = {line.split('  ')[0]: line for line in lines[start:] if 'not used' in line}
    assert list(rows) == ['PRID 2011', 'GRID', 'VIPeR', 'i-LIDS']
