from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_trees import MARKET_FILES, write_image, write_market

from fusionreid.datasets import DukeMTMCReID, Market1501, MarketStyleDataset
from fusionreid.datasets.market_style_dataset import parse_market_name
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import DATASETS


@given(
    person_id=st.integers(-1, 99999),
    camera=st.integers(1, 99),
    rest=st.sampled_from(['', 's1_000451_03', '_f0046182', '_any thing', '.v2']),
    extension=st.sampled_from(['jpg', 'JPEG', 'png']),
)
def test_name_round_trip(person_id: int, camera: int, rest: str, extension: str) -> None:
    shown = '-1' if person_id == -1 else f'{person_id:04d}'
    assert parse_market_name(f'{shown}_c{camera}{rest}.{extension}') == (person_id, camera - 1)


@pytest.mark.parametrize(
    'name', ['photo.jpg', '0002.jpg', '0002_s1.jpg', '-2_c1s1_1.jpg', '0002_cs1.jpg', 'a2_c1.jpg']
)
def test_name_that_does_not_parse(name: str) -> None:
    with pytest.raises(DatasetFormatError, match='does not parse.*0002_c1s1_000451_03.jpg'):
        parse_market_name(name)


def test_train_is_sorted_and_relabelled(tmp_path: Path) -> None:
    dataset = Market1501(str(write_market(tmp_path / 'market1501')))
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    names = [os.path.basename(item['img_path']) for item in items]
    assert names == sorted(MARKET_FILES['bounding_box_train'])
    assert dataset.person_ids.tolist() == [0, 1, 1, 2]  # 2, 7, 7, 10
    assert dataset.camera_ids.tolist() == [5, 0, 1, 2]
    assert [item['sample_idx'] for item in items] == [0, 1, 2, 3]
    assert {item['role'] for item in items} == {'train'}
    assert (dataset.num_ids, dataset.num_cameras) == (3, 6)
    assert dataset.metainfo['dataset_name'] == 'Market-1501'
    assert dataset.metainfo['release'] is None


def test_test_split_is_query_then_gallery_without_junk(tmp_path: Path) -> None:
    dataset = Market1501(str(write_market(tmp_path / 'market1501')), split='test')
    roles = [dataset.get_data_info(i)['role'] for i in range(len(dataset))]
    assert roles == ['query'] * 2 + ['gallery'] * 3
    assert dataset.person_ids.tolist() == [3, 5, 0, 3, 5]  # original ids, distractor 0 kept
    assert dataset.num_ids == 2
    assert dataset.metainfo['counts']['gallery'] == {'identities': 2, 'images': 3, 'cameras': 3}
    notes = ' '.join(dataset.metainfo['notes'])
    assert '2 images of id -1 (junk) dropped' in notes
    assert '1 images of id 0 (distractors) kept' in notes
    for split, length in (('query', 2), ('gallery', 3)):
        assert len(Market1501(str(tmp_path / 'market1501'), split=split)) == length


@pytest.mark.parametrize('folder', Market1501.FOLDER_NAMES)
def test_official_and_short_names_below_a_parent(tmp_path: Path, folder: str) -> None:
    write_market(tmp_path / folder)
    for data_root in (tmp_path, tmp_path / folder, tmp_path / 'market1501'):
        dataset = Market1501(str(data_root), split='query')
        assert dataset.metainfo['data_root'] == str(tmp_path / folder)


def test_two_names_for_one_folder_are_fine_and_for_two_are_not(tmp_path: Path) -> None:
    write_market(tmp_path / 'Market-1501-v15.09.15')
    (tmp_path / 'market1501').symlink_to(tmp_path / 'Market-1501-v15.09.15')
    assert len(Market1501(str(tmp_path))) == 4
    write_market(tmp_path / 'Market-1501')
    with pytest.raises(DatasetFormatError, match='may mean .*market1501 or .*Market-1501; set'):
        Market1501(str(tmp_path))


def test_duke(tmp_path: Path) -> None:
    files = {
        'bounding_box_train': ['0001_c2_f0046182.jpg', '0001_c8_f0046183.jpg'],
        'query': ['0005_c1_f0000001.jpg'],
        'bounding_box_test': ['0005_c2_f0000001.jpg', '0000_c3_f0000001.jpg'],
    }
    write_market(tmp_path / 'DukeMTMC-reID', files)
    train = DukeMTMCReID(str(tmp_path))
    assert train.camera_ids.tolist() == [1, 7]
    assert train.num_cameras == 8
    # Duke's distractors are identities like others, 0 included.
    test = DukeMTMCReID(str(tmp_path), split='test')
    assert test.metainfo['counts']['gallery']['identities'] == 2


def test_own_images_in_market_naming(tmp_path: Path) -> None:
    files = {
        'bounding_box_train': ['1_c1.png', '2_c3_front.jpg'],
        'query': ['0_c1.jpg'],
        'bounding_box_test': ['0_c2.jpg', '3_c4.jpg'],
    }
    root = str(write_market(tmp_path / 'street', files))
    dataset = DATASETS.build({'type': 'MarketStyleDataset', 'data_root': root})
    assert isinstance(dataset, MarketStyleDataset)
    assert dataset.metainfo['dataset_name'] == 'street'
    assert dataset.num_cameras == 4  # the largest of all splits, not of train alone
    # Somebody who is queried is nobody's distractor, even with the number 0.
    assert dataset.metainfo['counts']['gallery']['identities'] == 2
    assert MarketStyleDataset(root, num_cameras=9, dataset_name='x').num_cameras == 9


def test_missing_root(tmp_path: Path) -> None:
    root = str(tmp_path / 'nowhere')
    with pytest.raises(DatasetNotFoundError, match='nowhere.*does not exist.*bounding_box_train'):
        Market1501(root)
    file = write_image(tmp_path / 'file.jpg')
    with pytest.raises(DatasetNotFoundError, match='is a file, not a folder'):
        Market1501(str(file))


def test_wrong_layout_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    with pytest.raises(DatasetNotFoundError, match='not laid out.*contains: images.*bounding_box'):
        Market1501(str(tmp_path))
    (tmp_path / 'images').rmdir()
    with pytest.raises(DatasetNotFoundError, match='contains: nothing'):
        Market1501(str(tmp_path))


def test_missing_folder_matters_only_to_its_split(tmp_path: Path) -> None:
    files = {'bounding_box_train': MARKET_FILES['bounding_box_train']}
    root = str(write_market(tmp_path / 'market1501', files))
    assert Market1501(root).metainfo['counts']['query'] is None
    with pytest.raises(DatasetNotFoundError, match="split 'test' needs the folder '.*query'"):
        Market1501(root, split='test')


def test_empty_split(tmp_path: Path) -> None:
    write_market(tmp_path / 'market1501', {**MARKET_FILES, 'query': []})
    with pytest.raises(DatasetFormatError, match="split 'query' is empty.*/query'"):
        Market1501(str(tmp_path), split='test')


def test_name_that_does_not_parse_is_not_skipped(tmp_path: Path) -> None:
    root = write_market(tmp_path / 'market1501')
    write_image(root / 'query' / 'portrait.jpg')
    with pytest.raises(DatasetFormatError, match=r"market1501/query: file name 'portrait\.jpg'"):
        Market1501(str(root))


def test_other_files_are_ignored(tmp_path: Path) -> None:
    root = write_market(tmp_path / 'market1501')
    for name in ('Thumbs.db', '.DS_Store', '._0002_c6s1_000451_03.jpg', 'readme.txt'):
        (root / 'bounding_box_train' / name).write_bytes(b'x')
    (root / 'bounding_box_train' / 'folder.jpg').mkdir()
    assert len(Market1501(str(root))) == 4


@pytest.mark.parametrize('camera', [0, 7])
def test_camera_out_of_range(tmp_path: Path, camera: int) -> None:
    root = write_market(tmp_path / 'market1501')
    name = f'0002_c{camera}s1_000451_03.jpg'
    write_image(root / 'bounding_box_train' / name)
    message = f'{name}.* is of camera {camera}, but Market-1501 has 6 cameras, numbered 1 to 6'
    with pytest.raises(DatasetFormatError, match=message):
        Market1501(str(root))


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="train, query, gallery, test, but is 'val'"):
        Market1501('data', split='val')
    with pytest.raises(ValueError, match='num_cameras must be at least 1'):
        Market1501('data', num_cameras=0)
