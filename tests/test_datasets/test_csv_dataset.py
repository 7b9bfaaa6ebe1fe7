from __future__ import annotations

import os
from pathlib import Path

import pytest
from image_trees import write_csv, write_image

from fusionreid.datasets import CsvDataset
from fusionreid.datasets.people_table import COLUMNS
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import DATASETS
from fusionreid.utils.csv_table import write_csv as write_csv_table

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


def test_a_header_alone_is_no_data_set(tmp_path: Path) -> None:
    write_csv(tmp_path, [])
    with pytest.raises(DatasetFormatError, match='names its columns, but lists no image'):
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


@pytest.mark.parametrize('other', ['2.0', '02', ' 2', '2.', '2e0', '+2', '20e-1'])
def test_one_number_is_one_person(tmp_path: Path, other: str) -> None:
    root = write_csv(tmp_path, ['a.jpg,2,0,train', f'b.jpg,{other},1,train', 'c.jpg,3,1,train'])
    dataset = read(root)
    assert dataset.person_ids.tolist() == [0, 0, 1]
    assert 'person_names' not in dataset.metainfo


@pytest.mark.parametrize('other', ['2.0', '02', '2e0', '\uff12', '2\u200b'])
def test_one_number_among_names_is_written_in_one_way(tmp_path: Path, other: str) -> None:
    root = write_csv(tmp_path, ['a.jpg,2,0,train', f'b.jpg,{other},1,train', 'c.jpg,zoe,1,train'])
    with pytest.raises(DatasetFormatError, match=r"line 3: person_id .* '2' in line 2: .* one way"):
        read(root)


def test_one_name_is_written_in_one_way(tmp_path: Path) -> None:
    root = write_csv(tmp_path, ['a.jpg,Zo\u00e9,0,train', 'b.jpg,Zoe\u0301,1,train'])
    with pytest.raises(DatasetFormatError, match='line 3: person_id .* one way'):
        read(root)


@pytest.mark.parametrize('person', ['-1.0', '-1e0', '9' * 5000, '1e19', '-' + '9' * 30])
def test_numbers_of_nobody(tmp_path: Path, person: str) -> None:
    with pytest.raises(DatasetFormatError, match='line 2: person_id must be 0 or more and below'):
        read(write_csv(tmp_path, [f'a.jpg,{person},0,train']))


@pytest.mark.parametrize('person', ['1e9999', '1e99999999999999', '2.5', '1_2', '0x10', 'nan'])
def test_what_is_no_whole_number_is_a_name(tmp_path: Path, person: str) -> None:
    dataset = read(write_csv(tmp_path, [f'a.jpg,{person},0,train', 'b.jpg,7,0,train']))
    assert set(dataset.metainfo['person_names'].values()) == {person, '7'}


@pytest.mark.parametrize(
    ('header', 'message'),
    [
        ('path,person_id,camera_id,role,path', 'line 1: several columns are called path'),
        ('path,person_id,camera_id,role, role', 'line 1: several columns are called role'),
        ('path,person_id,camera_id,role,note,note', 'line 1: several columns are called note'),
        ('path;person_id;camera_id;role', 'separated by semicolons: save the table with commas'),
        ('path\tperson_id\tcamera_id\trole', 'separated by tabs'),
        ('path,person,camera_id,role', 'lacks the columns person_id'),
    ],
)
def test_headers(tmp_path: Path, header: str, message: str) -> None:
    write_csv(tmp_path, ROWS)
    (tmp_path / 'people.csv').write_text(f'{header}\n')
    with pytest.raises(DatasetFormatError, match=message):
        read(tmp_path)


def test_empty_columns_of_a_spreadsheet_and_any_line_ends(tmp_path: Path) -> None:
    write_csv(tmp_path, ROWS)
    lines = ['path,person_id,camera_id,role,,', *(f'{row},,' for row in ROWS)]
    for end in ('\r\n', '\r', '\n'):
        (tmp_path / 'people.csv').write_bytes(('\ufeff' + end.join(lines)).encode())
        assert len(read(tmp_path)) == 2


def test_a_quote_that_is_not_closed(tmp_path: Path) -> None:
    write_csv(tmp_path, ROWS)
    table = tmp_path / 'people.csv'
    table.write_text(table.read_text() + '"x.jpg,1,0,train\ny.jpg,1,0,train\n')
    with pytest.raises(DatasetFormatError, match='line 6: no valid CSV'):
        read(tmp_path)


def test_a_table_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'people.csv')
    with pytest.raises(DatasetNotFoundError, match=r'people\.csv\) is a named pipe'):
        read(tmp_path)


def test_cells_that_a_spreadsheet_would_run_are_read_back(tmp_path: Path) -> None:
    names = ['=1+1.jpg', '-x.jpg', "'quoted'.jpg", "'=x.jpg", '@a, "b"\n.jpg']
    rows = [(name, f'={number}', 0, 'train') for number, name in enumerate(names)]
    for name in names:
        write_image(tmp_path / name)
    (tmp_path / 'people.csv').write_bytes(write_csv_table([COLUMNS, *rows]))
    dataset = read(tmp_path)
    found = [Path(dataset.get_data_info(index)['img_path']).name for index in range(5)]
    assert found == sorted(names)
    assert set(dataset.metainfo['person_names'].values()) == {row[1] for row in rows}


def test_names_as_cameras(tmp_path: Path) -> None:
    rows = [
        'a.jpg,1,yard,train',
        'b.jpg,1,-1,train',
        'c.jpg,3,door é,query',
        'd.jpg,3,yard,gallery',
    ]
    dataset = read(write_csv(tmp_path, rows))
    assert dataset.metainfo['camera_names'] == {0: 'door é', 1: 'yard'}
    assert dataset.camera_ids.tolist() == [1, -1]
    assert dataset.num_cameras == 2
    assert read(tmp_path, 'test').camera_ids.tolist() == [0, 1]
    assert 'camera_names' not in read(write_csv(tmp_path, ROWS)).metainfo


@pytest.mark.parametrize(
    ('cameras', 'message'),
    [
        (('yard', '0'), "line 2: camera_id must be an integer .* but is 'yard'; only a table"),
        (('Zoé', 'Zoe\u0301'), 'line 3: camera_id .* write each camera in one way'),
        (('yard', '1.5'), "line 2: camera_id must be an integer .* but is 'yard'"),
    ],
)
def test_cameras_are_all_numbers_or_all_names(cameras, message, tmp_path: Path) -> None:
    root = write_csv(tmp_path, [f'{n}.jpg,1,{name},train' for n, name in enumerate(cameras)])
    with pytest.raises(DatasetFormatError, match=message):
        read(root)
