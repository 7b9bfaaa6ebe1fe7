"""Readers of public data sets on tiny copies of them, whole and damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest
import scipy.io
from image_trees import write_image

from fusionreid import datasets
from fusionreid.datasets import ReIDDataset
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import DATASETS

# Name of the class: its tiny copy, then identities, images and cameras of each role.
COUNTS = {
    'OccludedDuke': (trees.write_occluded_duke, (3, 4, 4), (2, 2, 2), (3, 3, 3)),
    'VeRi776': (trees.write_veri776, (1, 2, 2), (1, 1, 1), (2, 2, 2)),
    'LTCC': (trees.write_ltcc, (1, 2, 2), (1, 1, 1), (1, 3, 2)),
    'PRCC': (trees.write_prcc, (2, 6, 3), (2, 4, 1), (2, 4, 1)),
    'VehicleID': (trees.write_vehicleid, (2, 3, 0), (3, 6, 0), (3, 3, 0)),
    'MARS': (trees.write_mars, (2, 6, 3), (2, 6, 2), (2, 7, 3)),
    'CUHK03': (trees.write_cuhk03, (2, 8, 2), (3, 3, 1), (3, 9, 2)),
    'OccludedREID': (trees.write_occluded_reid, None, (2, 4, 0), (2, 2, 0)),
    'PartialREID': (trees.write_partial_reid, None, (2, 3, 0), (2, 2, 0)),
    'VIPeR': (trees.write_viper, None, (6, 6, 1), (6, 6, 1)),
    'PRID2011': (trees.write_prid2011, None, (4, 4, 1), (6, 6, 1)),
    'ILIDS': (trees.write_ilids, None, (5, 5, 0), (5, 8, 0)),
    'GRID': (trees.write_grid, None, (4, 4, 1), (4, 7, 4)),
    'CUHK02': (trees.write_cuhk02, (5, 20, 10), None, None),
    'CUHKSYSU': (trees.write_cuhk_sysu, (2, 3, 0), None, None),
}
COLUMNS = ('identities', 'images', 'cameras')
REPEATED = {'VehicleID', 'VIPeR', 'PRID2011', 'ILIDS', 'GRID'}


def records_of(dataset: ReIDDataset) -> list[dict]:
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def names_of(dataset: ReIDDataset, rows) -> list[str]:
    return [os.path.basename(dataset.get_data_info(int(row))['img_path']) for row in rows]


@pytest.mark.parametrize('name', COUNTS)
def test_counts_of_a_tiny_copy(tmp_path: Path, name: str) -> None:
    write, *expected = COUNTS[name]
    roles = dict(zip(('train', 'query', 'gallery'), expected, strict=True))
    kind = getattr(datasets, name)
    write(tmp_path / kind.FOLDER_NAMES[1])
    for split, needed in (('train', ['train']), ('test', ['query', 'gallery'])):
        config = dict(type=name, data_root=str(tmp_path / kind.FOLDER_NAMES[0]), split=split)
        if not all(roles[role] for role in needed):
            with pytest.raises(DatasetNotFoundError, match=f"the split '{split}' needs"):
                DATASETS.build(config)
            continue
        dataset = DATASETS.build(config)
        metainfo = dataset.metainfo
        assert metainfo['data_root'] == str(tmp_path / kind.FOLDER_NAMES[1])
        assert ('test_splits' in metainfo) == (split == 'test' and name in REPEATED)
        assert len(dataset) == sum(roles[role][1] for role in needed)
        for role, counts in roles.items():
            found = metainfo['counts'][role]
            assert found == (counts and dict(zip(COLUMNS, counts, strict=True)))
        text = datasets.split_table(metainfo)
        assert '* protocol: ' in text
        # i-LIDS publishes no count of an image that is in several splits.
        assert ('not the official counts' in text) == (name != 'ILIDS')


@pytest.mark.parametrize('name', COUNTS)
def test_a_folder_that_is_not_there_or_holds_something_else(tmp_path: Path, name: str) -> None:
    kind = getattr(datasets, name)
    with pytest.raises(DatasetNotFoundError, match=r"data_root '.*nowhere' .* does not exist"):
        kind(str(tmp_path / 'nowhere'))
    (tmp_path / 'holiday').mkdir()
    with pytest.raises(
        DatasetNotFoundError, match='not laid out as expected; it contains: holiday'
    ):
        kind(str(tmp_path))


MARKET = 'VeRi776 LTCC OccludedREID PartialREID PRCC VIPeR PRID2011 ILIDS GRID CUHK02 CUHKSYSU'


@pytest.mark.parametrize('name', MARKET.split())
def test_a_name_that_does_not_parse(tmp_path: Path, name: str) -> None:
    root = COUNTS[name][0](tmp_path / 'data')
    image = sorted(path for path in root.rglob('*') if path.is_file() and path.suffix != '.mat')[-1]
    write_image(image.with_name('portrait.jpg'))
    split = 'train' if name in ('CUHK02', 'CUHKSYSU') else 'test'
    with pytest.raises(DatasetFormatError, match=r"in .*: file name '[\w/]*portrait.jpg' does not"):
        getattr(datasets, name)(str(root), split=split)


def test_clothes_of_ltcc_and_prcc(tmp_path: Path) -> None:
    ltcc = datasets.LTCC(str(trees.write_ltcc(tmp_path / 'LTCC_ReID')), split='test')
    items = records_of(ltcc)
    # The query, then the gallery: the same clothes, then others in two cameras.
    assert [item['clothes_id'] for item in items] == [94001, 94001, 94002, 94002]
    assert [item['camera_id'] for item in items] == [8, 1, 1, 8]
    root = str(trees.write_prcc(tmp_path / 'prcc'))
    train = records_of(datasets.PRCC(root))
    assert [(i['person_id'], i['camera_id'], i['clothes_id']) for i in train] == [
        (0, 0, 2), (0, 1, 2), (0, 2, 3), (1, 0, 4), (1, 1, 4), (1, 2, 5)
    ]  # fmt: skip
    for clothes, camera in (('different', 2), ('same', 1)):
        items = records_of(datasets.PRCC(root, split='test', query_clothes=clothes))
        assert {item['camera_id'] for item in items if item['role'] == 'query'} == {camera}
        worn = {r: {i['clothes_id'] for i in items if i['role'] == r} for r in ('query', 'gallery')}
        assert (worn['query'] == worn['gallery']) == (clothes == 'same')
    with pytest.raises(
        ValueError, match="query_clothes must be one of different, same, but is 'x'"
    ):
        datasets.PRCC(root, query_clothes='x')


def check_galleries(dataset: ReIDDataset, queries: int) -> list[tuple[int, ...]]:
    """Check that each split has one gallery image of each person; returns the galleries."""
    known = dataset.metainfo['test_splits']
    assert known['size'] == len(dataset)
    assert len(known['splits']) == 10
    people = dataset.person_ids
    for query, gallery in known['splits']:
        assert len(query) == queries
        assert sorted(people[gallery]) == sorted(set(people))
        assert not set(query) & set(gallery)
    return [tuple(gallery) for _, gallery in known['splits']]


def test_single_shot_galleries_of_prcc_and_vehicleid(tmp_path: Path) -> None:
    root = str(trees.write_prcc(tmp_path / 'prcc'))
    galleries = check_galleries(datasets.PRCC(root, split='test', single_shot=True), 4)
    assert len(set(galleries)) > 1
    again = datasets.PRCC(root, split='test', single_shot=True)
    assert check_galleries(again, 4) == galleries
    other = datasets.PRCC(root, split='test', single_shot=True, seed=1)
    assert check_galleries(other, 4) != galleries
    # All gallery images are there, drawn or not.
    assert len(other) == 8
    root = str(trees.write_vehicleid(tmp_path / 'VehicleID_V1.0'))
    dataset = datasets.VehicleID(root, split='test')
    galleries = check_galleries(dataset, 6)
    roles = [item['role'] for item in records_of(dataset)]
    assert [roles[row] for row in galleries[0]] == ['gallery'] * 3
    assert 'test_splits' not in datasets.VehicleID(root, split='query').metainfo


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('0000010', "line 1: expected 'image vehicle', such as '0216601 1', but found '0000010'"),
        ('../../etc 3', 'expected'),
        ('0000010 3 4', 'expected'),
        ('0000010 3\n0000010 4', 'line 2: image 0000010 is listed twice'),
        ('\n', 'is empty'),
        ('0000010 3\n0009999 4', r"1 of the 2 images listed in .*0009999.jpg' \(missing\)"),
    ],
)
def test_damaged_lists_of_vehicleid(tmp_path: Path, line: str, message: str) -> None:
    root = trees.write_vehicleid(tmp_path / 'vehicleid')
    (root / 'train_test_split' / 'test_list_800.txt').write_text(line)
    with pytest.raises((DatasetFormatError, DatasetNotFoundError), match=message):
        datasets.VehicleID(str(root), split='test')


def test_missing_lists_and_wrong_size_of_vehicleid(tmp_path: Path) -> None:
    root = str(trees.write_vehicleid(tmp_path / 'vehicleid'))
    with pytest.raises(DatasetNotFoundError, match='needs the list .*test_list_2400.txt.*missing'):
        datasets.VehicleID(root, split='test', test_size=2400)
    assert datasets.VehicleID(root, test_size=2400).num_ids == 2
    with pytest.raises(ValueError, match='test_size must be one of 800, 1600, 2400, but is 13164'):
        datasets.VehicleID(root, test_size=13164)


SMALL: dict[str, Callable] = {
    'VIPeR': trees.write_viper,
    'PRID2011': trees.write_prid2011,
    'ILIDS': trees.write_ilids,
    'GRID': trees.write_grid,
}


@pytest.mark.parametrize('name', SMALL)
def test_ten_splits_of_the_small_sets(tmp_path: Path, name: str) -> None:
    root = str(SMALL[name](tmp_path / 'data'))
    kind = getattr(datasets, name)
    whole = kind(root)
    known = whole.metainfo['test_splits']
    assert (known['size'], len(known['splits'])) == (len(whole), 10)
    assert known['description'] in datasets.split_table(whole.metainfo)
    tested = []
    for index, (query, gallery) in enumerate(known['splits'][:3]):
        train = kind(root, 'train', split_index=index)
        people = {
            int(
                os.path.basename(i['img_path']).removeprefix('person_')[
                    : 3 if name == 'VIPeR' else 4
                ]
            )
            for i in records_of(train)
        }
        assert len(people) == train.num_ids
        queried = set(whole.person_ids[query])
        # Whom it tests does not train, and each query has somebody to find.
        assert not people & {*queried, *whole.person_ids[gallery]}
        assert queried <= set(whole.person_ids[gallery])
        tested.append(tuple(sorted(queried)))
        one = kind(root, split_index=index)
        assert 'test_splits' not in one.metainfo
        assert sorted(names_of(one, range(len(one)))) == sorted(names_of(whole, [*query, *gallery]))
    assert len(set(tested)) > 1
    again = kind(root).metainfo['test_splits']['splits']
    assert all(
        (a == b).all()
        for x, y in zip(again, known['splits'], strict=True)
        for a, b in zip(x, y, strict=True)
    )
    with pytest.raises(
        ValueError, match='split_index must be 0 to 9 or None for all splits, but is 10'
    ):
        kind(root, split_index=10)


def test_prid_keeps_strangers_and_grid_its_official_people(tmp_path: Path) -> None:
    root = str(trees.write_prid2011(tmp_path / 'prid'))
    test = records_of(datasets.PRID2011(root, split_index=0))
    strangers = {i['person_id'] for i in test if i['role'] == 'gallery' and i['person_id'] > 200}
    assert strangers == {201, 202}
    assert all(i['person_id'] <= 4 for i in test if i['role'] == 'query')
    root = str(trees.write_grid(tmp_path / 'grid'))
    train = datasets.GRID(root, 'train', split_index=1)
    assert {name[:4] for name in names_of(train, range(4))} == {'0002', '0003'}
    gallery = records_of(datasets.GRID(root, 'gallery', split_index=1))
    assert sorted(i['person_id'] for i in gallery) == [0, 0, 0, 1, 4]


def test_an_only_image_in_ilids_and_a_missing_camera(tmp_path: Path) -> None:
    root = trees.write_ilids(tmp_path / 'ilids')
    (root / 'Persons' / '0002002.jpg').unlink()
    with pytest.raises(DatasetFormatError, match="0002001.jpg' is the only image of its person"):
        datasets.ILIDS(str(root))
    root = trees.write_viper(tmp_path / 'viper')
    shutil.rmtree(root / 'cam_b')
    with pytest.raises(DatasetNotFoundError, match="the folder '.*cam_b' cannot be read"):
        datasets.VIPeR(str(root))
    root = trees.write_cuhk02(tmp_path / 'cuhk02')
    shutil.rmtree(root / 'P3' / 'cam2')
    with pytest.raises(DatasetNotFoundError, match="the folder '.*P3/cam2' is missing"):
        datasets.CUHK02(str(root))


def test_damaged_partitions_of_grid(tmp_path: Path) -> None:
    root = trees.write_grid(tmp_path / 'grid')
    path = root / 'features_and_partitions.mat'
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetFormatError, match=f"'{path}' is no MATLAB file .*, or damaged"):
        datasets.GRID(str(root))
    scipy.io.savemat(path, {'other': 1})
    with pytest.raises(DatasetFormatError, match='lacks the variables trainIdxAll'):
        datasets.GRID(str(root))
    scipy.io.savemat(path, {'trainIdxAll': np.arange(10)})
    with pytest.raises(DatasetFormatError, match='trainIdxAll holds 0 partitions'):
        datasets.GRID(str(root))
    path.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"partitions.mat' \(.*\) is missing"):
        datasets.GRID(str(root))


def test_tracklets_of_mars(tmp_path: Path) -> None:
    root = str(trees.write_mars(tmp_path / 'MARS'))
    dataset = datasets.MARS(root, split='test')
    items = records_of(dataset)
    assert [(i['person_id'], i['camera_id'], i['tracklet_id']) for i in items[:6]] == (
        [(2, 0, 2)] * 5 + [(4, 2, 4)]
    )
    assert [i['tracklet_id'] for i in items[6:]] == [1, 1, 3, 3, 3, 5, 5]  # 0 is junk
    assert items[0]['img_path'].endswith('bbox_test/0002/0002C1T0003F001.jpg')
    notes = ' '.join(dataset.metainfo['notes'])
    assert 'query: 2 tracklets (official: 1980)' in notes
    few = datasets.MARS(root, split='query', frames=2)
    assert names_of(few, range(3)) == [f'0002C1T0003F00{n}.jpg' for n in (2, 4)] + [
        '0004C3T0005F001.jpg'
    ]
    assert 'at most 2 images' in few.metainfo['protocol']
    with pytest.raises(ValueError, match='frames must be at least 1'):
        datasets.MARS(root, frames=0)


def test_damaged_lists_of_mars(tmp_path: Path) -> None:
    root = trees.write_mars(tmp_path / 'mars')
    info = root / 'info'
    names = (info / 'test_name.txt').read_text()
    lines = names.splitlines()

    def refuse(content: str, message: str) -> None:
        (info / 'test_name.txt').write_text(content)
        with pytest.raises((DatasetFormatError, DatasetNotFoundError), match=message):
            datasets.MARS(str(root), split='test')

    refuse('\n'.join(lines[:-1]), 'tracklet 6: images 14 to 15 are not in .* has 14 names')
    refuse('\n'.join(lines[1:] + lines[:1]), "F001.jpg' is in a tracklet of person 2 and camera 1")
    refuse(names.replace(lines[-1], '../../secret.jpg'), "'../../secret.jpg' does not parse")
    refuse(names.replace(lines[-1], '0004C1T0006F999.jpg'), r'1 of the 7 images listed in .*F999')
    scipy.io.savemat(info / 'query_IDX.mat', {'query_IDX': [7]})
    refuse(names, 'query 7 is none of the 6 test tracklets')
    scipy.io.savemat(info / 'query_IDX.mat', {'query_IDX': [1.5]})
    refuse(names, 'query_IDX must hold whole numbers')
    scipy.io.savemat(info / 'tracks_test_info.mat', {'track_test_info': [[1, 2, 3]]})
    refuse(names, r'must have four columns .* of shape \(1, 3\)')
    (info / 'test_name.txt').unlink()
    assert datasets.MARS(str(root)).num_ids == 2
    with pytest.raises(DatasetNotFoundError, match="the split 'test' needs .*test_name.txt"):
        datasets.MARS(str(root), split='test')


def test_partial_or_occluded_queries(tmp_path: Path) -> None:
    root = str(trees.write_partial_reid(tmp_path / 'Partial-REID_Dataset'))
    assert len(datasets.PartialREID(root, 'query')) == 3
    occluded = datasets.PartialREID(root, 'query', queries='occluded')
    assert len(occluded) == 2
    assert 'protocol: occluded queries' in datasets.split_table(occluded.metainfo)
    with pytest.raises(ValueError, match="queries must be one of partial, occluded, but is 'all'"):
        datasets.PartialREID(root, queries='all')
