from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from image_trees import MSMT17_LISTS, write_msmt17

from fusionreid.datasets import MSMT17
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError


def test_train_and_val_share_identities(tmp_path: Path) -> None:
    root = str(write_msmt17(tmp_path / 'MSMT17_V1'))
    both = MSMT17(root)
    assert both.metainfo['train_split'] == 'train+val'
    assert both.metainfo['release'] == 'V1'
    assert both.person_ids.tolist() == [0, 1, 1]
    assert both.camera_ids.tolist() == [4, 0, 14]
    assert (both.num_ids, both.num_cameras) == (2, 15)
    assert both.metainfo['official_counts']['train']['images'] == 32621

    train = MSMT17(root, train_split='train')
    assert train.person_ids.tolist() == [0]  # id 1 relabelled
    assert train.metainfo['official_counts']['train']['images'] == 30248


def test_test_split(tmp_path: Path) -> None:
    dataset = MSMT17(str(write_msmt17(tmp_path / 'MSMT17_V1')), split='test')
    assert dataset.person_ids.tolist() == [0, 0, 1]  # 0 is a person here, not a distractor
    assert dataset.camera_ids.tolist() == [1, 3, 2]
    assert dataset.num_ids == 2
    assert dataset.get_data_info(0)['img_path'].startswith(str(tmp_path / 'MSMT17_V1' / 'test'))
    # Training and test identities are numbered apart, so equal numbers are no overlap.
    assert not any('in train and in query' in note for note in dataset.metainfo['notes'])


@pytest.mark.parametrize('release', ['V1', 'V2'])
@pytest.mark.parametrize('folder', ['msmt17', 'MSMT17', 'MSMT17_V1', 'MSMT17_V2'])
def test_release_is_recognized_by_its_folders(tmp_path: Path, folder: str, release: str) -> None:
    write_msmt17(tmp_path / folder, release)
    for data_root in (tmp_path, tmp_path / folder, tmp_path / 'msmt17'):
        metainfo = MSMT17(str(data_root)).metainfo
        assert metainfo['release'] == release
        assert any('blurred' in note for note in metainfo['notes']) == (release == 'V2')


def test_two_releases_require_a_choice(tmp_path: Path) -> None:
    write_msmt17(tmp_path / 'MSMT17_V1', 'V1')
    write_msmt17(tmp_path / 'MSMT17_V2', 'V2')
    for data_root in (tmp_path, tmp_path / 'msmt17'):
        with pytest.raises(DatasetFormatError, match="V1 in .*, V2 in .*Choose.*release='V1'"):
            MSMT17(str(data_root))
        for release in ('V1', 'V2'):
            dataset = MSMT17(str(data_root), release=release)
            assert dataset.metainfo['data_root'] == str(tmp_path / f'MSMT17_{release}')
    write_msmt17(tmp_path / 'MSMT17_V1', 'V2')  # both below one root
    with pytest.raises(DatasetFormatError, match='Choose'):
        MSMT17(str(tmp_path / 'MSMT17_V1'))


def test_asked_for_release_is_not_there(tmp_path: Path) -> None:
    root = str(write_msmt17(tmp_path / 'msmt17', 'V1'))
    with pytest.raises(DatasetNotFoundError, match=r'mask_train_v2/ and mask_test_v2/ \(V2\)'):
        MSMT17(root, release='V2')


def test_missing_root_and_lists(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match='does not exist.*list_train.txt'):
        MSMT17(str(tmp_path / 'nowhere'))
    root = write_msmt17(tmp_path / 'msmt17')
    (root / 'list_val.txt').unlink()
    assert len(MSMT17(str(root), train_split='train')) == 1
    with pytest.raises(DatasetNotFoundError, match='needs .*list_val.txt.*missing'):
        MSMT17(str(root))
    for path in root.glob('list_*.txt'):
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match='contains: test, train. Expected .*list_val'):
        MSMT17(str(root))


def test_listed_image_is_missing(tmp_path: Path) -> None:
    root = write_msmt17(tmp_path / 'msmt17')
    (root / 'test' / MSMT17_LISTS['list_gallery.txt'][0][0]).unlink()
    with pytest.raises(DatasetNotFoundError, match=r'1 of the 2 images listed in .*list_gallery'):
        MSMT17(str(root))
    shutil.rmtree(root / 'test' / '0000')
    with pytest.raises(DatasetNotFoundError, match='list_query.*0000_000_02_0303morning'):
        MSMT17(str(root))


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('0001/0001_000_01_x.jpg', "line 1: expected 'path id'"),
        ('0001/0001_000_01_x.jpg -1', "line 1: expected 'path id'"),
        ('0001/0001.jpg 1', "line 1: file name '0001/0001.jpg' does not parse"),
        ('0001/0001_000_morning.jpg 1', 'third field'),
        ('../../0001_000_01_x.jpg 1', "line 1: '../../0001_000_01_x.jpg' leads out of the folder"),
        ('/0001/0001_000_01_x.jpg 1', 'leads out of the folder'),
    ],
)
def test_line_that_does_not_parse(tmp_path: Path, line: str, message: str) -> None:
    root = write_msmt17(tmp_path / 'msmt17')
    (root / 'list_train.txt').write_text(line)
    with pytest.raises(DatasetFormatError, match=f'list_train.txt, {message}|{message}'):
        MSMT17(str(root))


def test_camera_twice_and_empty(tmp_path: Path) -> None:
    root = write_msmt17(tmp_path / 'msmt17')
    train_list = root / 'list_train.txt'
    line = train_list.read_text()
    train_list.write_text(line * 2)
    with pytest.raises(DatasetFormatError, match='is listed twice in .*list_train.txt'):
        MSMT17(str(root))
    name = '0001/0001_000_16_x.jpg'
    shutil.copy(root / 'train' / line.split()[0], root / 'train' / name)
    train_list.write_text(f'{name} 1')
    with pytest.raises(DatasetFormatError, match='is of camera 16, but MSMT17 has 15 cameras'):
        MSMT17(str(root))
    train_list.write_text('\n')
    for split in ('train', 'train+val'):  # list_val.txt has lines
        with pytest.raises(DatasetFormatError, match='list_train.txt is empty'):
            MSMT17(str(root), train_split=split)


def test_arguments() -> None:
    with pytest.raises(ValueError, match="train_split must be one of .*, but is 'val'"):
        MSMT17('data', train_split='val')
    with pytest.raises(ValueError, match="release must be one of V1, V2 or None, but is 'V3'"):
        MSMT17('data', release='V3')
