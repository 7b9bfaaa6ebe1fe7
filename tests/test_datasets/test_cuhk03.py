"""CUHK03 in its three layouts, whole and damaged, and its archive."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest
import scipy.io
from PIL import Image

from fusionreid.cli.main import run_command
from fusionreid.datasets import CUHK03
from fusionreid.errors import DatasetError, DatasetFormatError, DatasetNotFoundError


def names_of(dataset: CUHK03) -> list[str]:
    return [os.path.basename(dataset.get_data_info(i)['img_path']) for i in range(len(dataset))]


@pytest.mark.parametrize('boxes', ['labeled', 'detected'])
def test_new_protocol(tmp_path: Path, boxes: str) -> None:
    root = str(trees.write_cuhk03(tmp_path / 'cuhk03'))
    train = CUHK03(root, boxes=boxes)
    assert train.person_ids.tolist() == [0] * 4 + [1] * 4
    assert train.camera_ids.tolist() == [0, 0, 1, 1] * 2
    assert f'images_{boxes}' in train.get_data_info(0)['img_path']
    assert train.metainfo['official_counts']['train']['images'] == (
        7368 if boxes == 'labeled' else 7365
    )
    query = CUHK03(root, 'query', boxes=boxes)
    assert names_of(query) == ['1_003_1_01.png', '2_001_1_01.png', '2_002_1_01.png']
    assert f'new protocol, {boxes} boxes' in query.metainfo['protocol']


def test_np_layout(tmp_path: Path) -> None:
    root = str(trees.write_cuhk03_np(tmp_path / 'cuhk03-np'))
    assert names_of(CUHK03(root, 'test', boxes='labeled')) == [
        '0002_c1_11.png', '0002_c2_16.png', '0005_c2_41.png'
    ]  # fmt: skip
    assert CUHK03(root).num_ids == 1
    with pytest.raises(DatasetNotFoundError, match='unpack-cuhk03'):
        CUHK03(root, protocol='classic')


def test_damaged_configurations(tmp_path: Path) -> None:
    root = trees.write_cuhk03(tmp_path / 'cuhk03')
    path = root / 'cuhk03_new_protocol_config_detected.mat'
    names = trees.cuhk03_names()

    def refuse(message: str) -> None:
        with pytest.raises((DatasetFormatError, DatasetNotFoundError), match=message):
            CUHK03(str(root))

    trees.write_cuhk03_split(path, ['../../../secret.png', *names[1:]])
    refuse(r"config_detected.mat': file name '../../../secret.png' does not parse")
    trees.write_cuhk03_split(path, [*names, '5_049_1_01.png'])
    refuse(r'1 of the \d+ images listed in .*5_049_1_01.png')
    content = {k: v for k, v in scipy.io.loadmat(path).items() if k[0] != '_'}
    scipy.io.savemat(path, {**content, 'train_idx': [[1], [99]]})
    refuse('train_idx names image 99, but there are 21')
    scipy.io.savemat(path, {**content, 'labels': content['labels'][:-2]})
    refuse('filelist has 21 names, but labels has 19')
    whole = trees.write_cuhk03_split(path).read_bytes()
    path.write_bytes(whole[:-60])
    refuse('no MATLAB file of version 5 to 7.2, or damaged')
    path.unlink()
    refuse(r"config_detected.mat' \(.*\) is missing")
    assert CUHK03(str(root), boxes='labeled').num_ids == 2


def test_arguments() -> None:
    for wrong, message in (
        (dict(boxes='drawn'), "boxes must be one of labeled, detected, but is 'drawn'"),
        (dict(protocol='old'), "protocol must be one of new, classic, but is 'old'"),
        (dict(test_set=20), 'test_set must be 0 to 19, but is 20'),
    ):
        with pytest.raises(ValueError, match=message):
            CUHK03('data', **wrong)


def test_images_are_unpacked_and_the_classic_protocol_scored(tmp_path: Path, capsys) -> None:
    pytest.importorskip('h5py')
    root = tmp_path / 'cuhk03'
    archive = trees.write_cuhk03_archive(root / 'cuhk03_release' / 'cuhk-03.mat')
    with pytest.raises(DatasetNotFoundError, match=f'fusionreid unpack-cuhk03 {root} makes it'):
        CUHK03(str(root))
    assert run_command('unpack-cuhk03', [str(root)]) == 0
    assert sorted(os.listdir(root / 'images_labeled')) == sorted(trees.cuhk03_names())
    # Rows, columns and channels are those of the archive, in which they are reversed.
    import h5py

    with h5py.File(archive) as content:
        (pair,) = content[content['detected'][0, 1]][()].T[:1]
        expected = content[pair[2]][()].T
    with Image.open(root / 'images_detected' / '2_001_1_03.png') as image:
        assert np.array_equal(np.asarray(image), expected)
    # Images that are there are kept.
    (root / 'images_labeled' / '1_001_1_01.png').unlink()
    assert run_command('unpack-cuhk03', [str(root)]) == 0
    assert 'images_labeled: 1 images written' in capsys.readouterr().out

    dataset = CUHK03(str(root), 'test', protocol='classic')
    people = sorted(set(dataset.person_ids))
    assert people == [10001, 10003]
    splits = dataset.metainfo['test_splits']['splits']
    for query, gallery in splits:
        assert sorted(dataset.person_ids[gallery]) == people
        assert {*dataset.camera_ids[query]} == {0}
        assert {*dataset.camera_ids[gallery]} == {1}
        assert len(query) == 4
    assert len({tuple(gallery) for _, gallery in splits}) > 1
    assert CUHK03(str(root), protocol='classic', test_set=1).num_ids == 4
    with pytest.raises(DatasetFormatError, match='has 2 test sets, none of number 5'):
        CUHK03(str(root), protocol='classic', test_set=5)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch) -> None:
    root = trees.write_cuhk03(tmp_path / 'cuhk03')
    (root / 'cuhk-03.mat').write_bytes(b'x')
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(DatasetError, match='needs h5py, .* pip install h5py'):
        CUHK03(str(root), protocol='classic')
    monkeypatch.setitem(sys.modules, 'scipy.io', None)
    with pytest.raises(DatasetError, match='needs scipy.io, .* pip install scipy'):
        CUHK03(str(root))


def test_archives_that_are_damaged_or_lead_elsewhere(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    root = tmp_path / 'cuhk03'
    path = trees.write_cuhk03_archive(root / 'cuhk-03.mat')
    elsewhere = trees.write_cuhk03_archive(tmp_path / 'elsewhere.mat')
    whole = path.read_bytes()

    def refuse(message: str) -> None:
        with pytest.raises(SystemExit, match=message) as stop:
            run_command('unpack-cuhk03', [str(root)])
        assert len(str(stop.value).splitlines()) == 1

    path.write_bytes(whole[:3000])
    refuse('is not cuhk-03.mat, or damaged')
    path.write_bytes(b'no HDF5')
    refuse('is not cuhk-03.mat, or damaged')
    path.write_bytes(whole)
    with h5py.File(path, 'a') as content:
        del content['labeled']
        content['labeled'] = h5py.ExternalLink(str(elsewhere), 'labeled')
    refuse('holds no variable labeled')
    (tmp_path / 'secret').write_bytes(b'secret' * 100)
    with h5py.File(path, 'a') as content:
        del content['labeled']
        external = [(str(tmp_path / 'secret'), 0, 600)]
        content.create_dataset('labeled', (3, 10, 20), 'u1', external=external)
    refuse('/labeled is no array of its own')
    path.write_bytes(whole)
    with h5py.File(path, 'a') as content:
        del content['labeled']
        content['labeled'] = np.zeros((1, 5))
    refuse('/labeled is no cell array')
    path.unlink()
    refuse('neither')
