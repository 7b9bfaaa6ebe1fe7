from __future__ import annotations

from pathlib import Path

import pytest
from image_trees import write_csv

from fusionreid.datasets import CsvDataset
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import DATASETS

ROWS = [
    'b.jpg,12,0,train',
    'a.jpg,4,2,train',
    'sub/q.jpg,7,1,query',
    'g.jpg,7,-1,gallery',
]


def read(root: Path, split: str = 'train', **kwargs) -> CsvDataset:
    return CsvDataset(str(root), 'people.csv', split, **kwargs)


def test_integer_ids(tmp_path: Path) -> None:
    root = write_csv(tmp_path, ROWS)
    train = DATASETS.build(
        {'type': 'CsvDataset', 'data_root': str(root), 'ann_file': 'people.csv', 'split': 'train'}
    )
    assert train.person_ids.tolist() == [0, 1]  # a.jpg is person 4, b.jpg person 12
    assert train.camera_ids.tolist() == [2, 0]
    assert (train.num_ids, train.num_cameras) == (2, 3)
    assert train.metainfo['dataset_name'] == 'people'
    test = read(root, 'test', num_cameras=8, dataset_name='Shop')
    assert test.person_ids.tolist() == [7, 7]
    assert test.camera_ids.tolist() == [1, -1]
    assert test.num_cameras == 8
    assert test.metainfo['dataset_name'] == 'Shop'
    assert test.metainfo['counts']['gallery'] == {'identities': 1, 'images': 1, 'cameras': 0}


def test_names_as_ids(tmp_path: Path) -> None:
    rows = ['a.jpg,zoe,0,train', 'b.jpg,1_2,0,train', 'c.jpg,3,0,query', 'd.jpg,3,1,gallery']
    dataset = read(write_csv(tmp_path, rows), 'test')
    assert dataset.metainfo['person_names'] == {0: '1_2', 1: '3', 2: 'zoe'}
    assert dataset.person_ids.tolist() == [1, 1]
    assert read(tmp_path).person_ids.tolist() == [1, 0]


def test_byte_order_mark_further_columns_and_absolute_paths(tmp_path: Path) -> None:
    write_csv(tmp_path, ROWS)
    absolute = tmp_path / 'a.jpg'
    (tmp_path / 'people.csv').write_text(
        f'\ufeffrole,note,path,person_id,camera_id\ntrain,"x, y",{absolute},4,2\n\n'
    )
    assert read(tmp_path).get_data_info(0)['img_path'] == str(absolute)


def test_same_people_in_train_and_query_are_pointed_out(tmp_path: Path) -> None:
    root = write_csv(tmp_path, [*ROWS, 'again.jpg,7,0,train'])
    assert any('1 identities are in train and in query' in n for n in read(root).metainfo['notes'])


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('x.jpg,1,0,val', "line 6: role must be one of train, query, gallery, but is 'val'"),
        ('x.jpg,1,-2,train', "line 6: camera_id must be an integer .* but is '-2'"),
        ('x.jpg,1,c1,train', "line 6: camera_id must be an integer .* but is 'c1'"),
        ('x.jpg,-1,0,train', 'line 6: person_id must be 0 or more .* is -1'),
        (f'x.jpg,{1 << 64},0,train', 'line 6: person_id must be .* below 2.63, but is 18446744'),
        ('x.jpg,1,4294967296,train', 'line 6: camera_id 4294967296 is too large'),
        ('x.jpg,,0,train', 'line 6: no person_id'),
        ('x.jpg,1', 'line 6: no camera_id, role'),
        ('x.jpg,1,0,train,extra', 'line 6: more cells than columns'),
        ('sub/../a.jpg,1,0,query', "line 6: 'sub/../a.jpg' is listed already in line 3"),
    ],
)
def test_bad_rows(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DatasetFormatError, match=f'people.csv, {message}'):
        read(write_csv(tmp_path, [*ROWS, row]))


def test_spaces_in_the_header(tmp_path: Path) -> None:
    spaced = write_csv(tmp_path, ROWS, header='path, person_id, camera_id, role')
    assert len(read(spaced)) > 0


def test_missing_columns(tmp_path: Path) -> None:
    write_csv(tmp_path, ['a.jpg;1;0;train'], header='path;person_id;camera_id;role')
    with pytest.raises(DatasetFormatError, match='lacks the columns path, .*separated by commas'):
        read(tmp_path)
    (tmp_path / 'people.csv').write_text('')
    with pytest.raises(DatasetFormatError, match='lacks the columns'):
        read(tmp_path)


def test_missing_table_images_and_role(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match='people.csv.*does not exist'):
        read(tmp_path)
    write_csv(tmp_path, ROWS[:2])
    with pytest.raises(DatasetNotFoundError, match="needs rows of role 'query' in .*people.csv"):
        read(tmp_path, 'test')
    table = tmp_path / 'people.csv'
    table.write_text(table.read_text() + ''.join(f'no{i}.jpg,1,0,train\n' for i in range(7)))
    with pytest.raises(
        DatasetNotFoundError, match=r"7 of the 9 images .*no4.jpg' \(missing\), \.\.\."
    ):
        read(tmp_path)


def test_a_folder_and_a_broken_link_are_no_images(tmp_path: Path) -> None:
    root = write_csv(tmp_path, ROWS)
    (root / 'a.jpg').unlink()
    (root / 'a.jpg').mkdir()
    (root / 'b.jpg').unlink()
    (root / 'b.jpg').symlink_to(root / 'gone.jpg')
    with pytest.raises(
        DatasetNotFoundError,
        match=r"2 of the 4 .*b\.jpg' \(a link that leads nowhere\).*a\.jpg' \(a folder\)",
    ):
        read(root)


def test_camera_out_of_range(tmp_path: Path) -> None:
    message = 'a.jpg.* is of camera 2, but people has 2 cameras, numbered 0 to 1, or -1 for unknown'
    with pytest.raises(DatasetFormatError, match=message):
        read(write_csv(tmp_path, ROWS), num_cameras=2)
