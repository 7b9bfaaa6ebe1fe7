"""Folders of public data sets are told by what they hold."""

from __future__ import annotations

from pathlib import Path

import dataset_trees
import pytest
from image_trees import write_market, write_msmt17

from fusionreid.cli.main import run_command
from fusionreid.datasets.checks.layouts import recognize_layout
from fusionreid.registry import DATASETS

TREES = {
    'MSMT17': write_msmt17,
    'CUHK03': dataset_trees.write_cuhk03,
    'LTCC': dataset_trees.write_ltcc,
    'PRCC': dataset_trees.write_prcc,
    'VeRi776': dataset_trees.write_veri776,
    'VehicleID': dataset_trees.write_vehicleid,
    'MARS': dataset_trees.write_mars,
    'PartialREID': dataset_trees.write_partial_reid,
    'OccludedREID': dataset_trees.write_occluded_reid,
    'PRID2011': dataset_trees.write_prid2011,
    'GRID': dataset_trees.write_grid,
    'CUHK02': dataset_trees.write_cuhk02,
    'CUHKSYSU': dataset_trees.write_cuhk_sysu,
    'ILIDS': dataset_trees.write_ilids,
    'VIPeR': dataset_trees.write_viper,
}


@pytest.mark.parametrize('kind', TREES)
def test_each_is_told_from_all_others(kind, tmp_path):
    root = tmp_path / 'download'  # a name that tells nothing
    TREES[kind](root)
    settings = recognize_layout(str(root))
    assert settings['type'] == kind
    assert DATASETS.build(dict(settings, pipeline=[], lazy_init=True)).read_annotation().records


def test_both_forms_of_cuhk03(tmp_path):
    dataset_trees.write_cuhk03_np(tmp_path)
    assert recognize_layout(str(tmp_path)) == dict(
        type='CUHK03', boxes='labeled', data_root=str(tmp_path)
    )


def test_other_folders_are_none_of_them(tmp_path):
    write_market(tmp_path / 'market')
    dataset_trees.write_images(tmp_path / 'own', ['cam_a/anna.jpg', 'train/b.jpg', 'query/c.jpg'])
    for folder in ('market', 'own', 'missing'):
        assert recognize_layout(str(tmp_path / folder)) == {}


def test_the_command_reads_them(tmp_path: Path, capsys):
    root = dataset_trees.write_prcc(tmp_path / 'download')
    assert run_command('check-dataset', [str(root), '--workers', '0']) == 0
    assert f'{root}: read as PRCC' in ''.join(capsys.readouterr())
    # A folder whose name alone tells it from DukeMTMC-reID, and with faults to find.
    occluded = dataset_trees.write_occluded_duke(tmp_path / 'Occluded_Duke')
    assert run_command('check-dataset', [str(occluded), '--workers', '0']) == 1
    assert 'read as OccludedDuke' in ''.join(capsys.readouterr())
