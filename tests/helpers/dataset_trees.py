"""Tiny copies of public data sets: their folders, names, lists and MATLAB files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
from image_trees import write_image, write_market

VERI_FILES = {
    'image_train': ['0001_c001_00016450_0.jpg', '0001_c002_00016460_0.jpg'],
    'image_query': ['0002_c002_00030600_0.jpg'],
    'image_test': ['0002_c003_00030605_1.jpg', '0005_c020_00001605_1.jpg'],
}
LTCC_FILES = {
    'train': ['001_1_c9_015923.png', '001_2_c1_000001.png'],
    'query': ['094_1_c9_015923.png'],
    'test': ['094_1_c2_000002.png', '094_2_c2_000003.png', '094_2_c9_000004.png'],
}
MARS_TRACKS = {  # person, camera and number of images of each tracklet, in the order of the names
    'train': [(1, 1, 3), (1, 2, 2), (3, 6, 1)],
    'test': [(-1, 1, 2), (0, 3, 2), (2, 1, 5), (2, 2, 3), (4, 3, 1), (4, 1, 2)],
}
MARS_QUERIES = [3, 5]  # from 1 on
CUHK03_IMAGES = {1: 3, 2: 2}  # pair of cameras: people, with an image in two places of each view
CUHK03_PLACES = (0, 2, 5, 6)


def write_images(root: Path, paths: Sequence[str]) -> Path:
    """Write an image at each path below ``root``."""
    for seed, path in enumerate(paths):
        write_image(root / path, seed)
    return root


def write_occluded_duke(root: Path) -> Path:
    """Write Occluded-Duke, which has the layout of DukeMTMC-reID."""
    return write_market(root)


def write_veri776(root: Path) -> Path:
    """Write VeRi-776."""
    return write_market(root, VERI_FILES)


def write_ltcc(root: Path) -> Path:
    """Write LTCC."""
    return write_market(root, LTCC_FILES)


def write_occluded_reid(root: Path) -> Path:
    """Write Occluded-REID: two people, two occluded and one whole image of each."""
    paths = [f'occluded_body_images/{p:03d}/{p:03d}_{n:02d}.tif' for p in (1, 2) for n in (1, 2)]
    return write_images(
        root, [*paths, *(f'whole_body_images/{p:03d}/{p:03d}_01.tif' for p in (1, 2))]
    )


def write_partial_reid(root: Path) -> Path:
    """Write Partial-REID: two people, of whom one has two partial images."""
    names = ('partial_body_images/001_001.jpg', 'partial_body_images/001_002.jpg')
    folders = ('partial', 'occluded', 'whole')
    paths = [f'{folder}_body_images/{p:03d}_001.jpg' for folder in folders for p in (1, 2)]
    return write_images(root, sorted({*names, *paths}))


def write_prcc(root: Path) -> Path:
    """Write PRCC: two people train, two are tested."""
    train = [f'rgb/train/{p:03d}/{c}_cropped_rgb001.jpg' for p in (1, 2) for c in 'ABC']
    test = [
        f'rgb/test/{c}/{p:03d}/cropped_rgb{n:03d}.jpg'
        for c in 'AABC'
        for p in (5, 6)
        for n in (1, 2)
    ]
    return write_images(root, sorted({*train, *test}))


def write_vehicleid(root: Path) -> Path:
    """Write VehicleID: two vehicles train, three are tested."""
    lists = {
        'train_list.txt': [('0000001', 1), ('0000002', 1), ('0000003', 2)],
        'test_list_800.txt': [(f'{10 + n:07d}', 3 + n // 3) for n in range(9)],
    }
    for name, lines in lists.items():
        write_images(root / 'image', [f'{image}.jpg' for image, _ in lines])
        (root / 'train_test_split').mkdir(exist_ok=True)
        text = ''.join(f'{image} {vehicle}\n' for image, vehicle in lines)
        (root / 'train_test_split' / name).write_text(text)
    return root


def write_mars(root: Path) -> Path:
    """Write MARS: see ``MARS_TRACKS``; an image of a tracklet is called by its number in it."""
    info = root / 'info'
    info.mkdir(parents=True)
    for part, tracks in MARS_TRACKS.items():
        names, rows = [], []
        for number, (person, camera, count) in enumerate(tracks, 1):
            shown = '00-1' if person == -1 else f'{person:04d}'
            rows.append((len(names) + 1, len(names) + count, person, camera))
            names += [f'{shown}C{camera}T{number:04d}F{n:03d}.jpg' for n in range(1, count + 1)]
        write_images(root / f'bbox_{part}', [f'{name[:4]}/{name}' for name in names])
        (info / f'{part}_name.txt').write_text('\n'.join(names) + '\n')
        variable = {f'track_{part}_info': np.array(rows, dtype=np.int32)}
        scipy.io.savemat(info / f'tracks_{part}_info.mat', variable)
    scipy.io.savemat(info / 'query_IDX.mat', {'query_IDX': np.array([MARS_QUERIES], np.uint16)})
    return root


def write_viper(root: Path, people: int = 6) -> Path:
    """Write VIPeR."""
    names = [
        f'{camera}/{p:03d}_{angle}.bmp'
        for camera, angle in (('cam_a', 45), ('cam_b', 90))
        for p in range(people)
    ]
    return write_images(root, names)


def write_prid2011(root: Path) -> Path:
    """Write PRID 2011: four people in both cameras, one more in the first, two in the second."""
    people = {'cam_a': [1, 2, 3, 4, 201], 'cam_b': [1, 2, 3, 4, 201, 202]}
    paths = [f'single_shot/{c}/person_{p:04d}.png' for c, all_of in people.items() for p in all_of]
    return write_images(root, paths)


def write_ilids(root: Path) -> Path:
    """Write i-LIDS: five people with two or three images each."""
    return write_images(
        root / 'Persons', [f'{p:04d}{n:03d}.jpg' for p in range(1, 6) for n in range(1, 3 + p % 2)]
    ).parent


def write_grid(root: Path) -> Path:
    """Write GRID: four people, three strangers, and ten partitions of two people who train."""
    probe = [f'probe/{p:04d}_1_25004_107_32_106_22{p}.jpeg' for p in range(1, 5)]
    gallery = [f'gallery/{p:04d}_2_25023_116_134_128_33{p}.jpeg' for p in range(1, 5)]
    strangers = [f'gallery/0000_{n}_25008_175_209_93_23{n}.jpeg' for n in (3, 5, 8)]
    cells = np.empty((1, 10), dtype=object)
    for index in range(10):
        train = [1 + index % 4, 1 + (index + 1) % 4]
        cells[0, index] = {'name': 'split', 'count': 2.0, 'trainIdx': np.array([train], np.uint8)}
    write_images(root, [*probe, *gallery, *strangers])
    scipy.io.savemat(root / 'features_and_partitions.mat', {'trainIdxAll': cells})
    return root


def write_cuhk02(root: Path) -> Path:
    """Write CUHK02: a person in each pair of cameras, two images in each camera."""
    pairs = [(pair, camera) for pair in range(1, 6) for camera in (1, 2)]
    return write_images(root, [f'P{p}/cam{c}/001_0{n}.png' for p, c in pairs for n in (1, 2)])


def write_cuhk_sysu(root: Path) -> Path:
    """Write the cropped CUHK-SYSU."""
    names = ['p1_s1_1.jpg', 'p1_s2_2.jpg', 'p11422_s16929_1.jpg']
    return write_images(root, [f'cropped_images/{name}' for name in names])


def cuhk03_names() -> list[str]:
    """File names of the images in ``cuhk-03.mat``."""
    return [
        f'{pair}_{person:03d}_{1 if place < 5 else 2}_{place + 1:02d}.png'
        for pair, people in CUHK03_IMAGES.items()
        for person in range(1, people + 1)
        for place in CUHK03_PLACES
    ]


def write_cuhk03_split(path: Path, names: Sequence[str] = ()) -> Path:
    """Write a configuration of the new protocol: the first two people train, the others are tested.

    Of those the first image of each is the query.
    """
    names = [*names] or cuhk03_names()
    people = [name[:5] for name in names]
    labels = [1 + sorted(set(people)).index(person) for person in people]
    rows = {'train_idx': [], 'query_idx': [], 'gallery_idx': []}
    for number, label in enumerate(labels, 1):
        is_first = label not in labels[: number - 1]
        role = 'train_idx' if label < 3 else 'query_idx' if is_first else 'gallery_idx'
        rows[role].append(number)
    filelist = np.empty((len(names), 1), dtype=object)
    filelist[:, 0] = names
    columns = {name: np.array(values, np.uint16)[:, None] for name, values in rows.items()}
    labels = np.array(labels, np.uint16)[:, None]
    scipy.io.savemat(path, dict(columns, labels=labels, filelist=filelist))
    return path


def write_cuhk03(root: Path) -> Path:
    """Write CUHK03 as it is once its images have been taken out of ``cuhk-03.mat``."""
    for boxes in ('labeled', 'detected'):
        write_images(root / f'images_{boxes}', cuhk03_names())
        write_cuhk03_split(root / f'cuhk03_new_protocol_config_{boxes}.mat')
    return root


def write_cuhk03_np(root: Path) -> Path:
    """Write CUHK03-NP."""
    files = {
        'bounding_box_train': ['0003_c1_21.png', '0003_c2_26.png'],
        'query': ['0002_c1_11.png'],
        'bounding_box_test': ['0002_c2_16.png', '0005_c2_41.png'],
    }
    for boxes in ('labeled', 'detected'):
        write_market(root / boxes, files)
    return root


def write_cuhk03_archive(path: Path) -> Path:
    """Write ``cuhk-03.mat``, HDF5 in which cells are references and all axes are reversed."""
    import h5py

    random = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as archive:
        content = archive.create_group('#refs#')

        def keep(values: np.ndarray) -> h5py.Reference:
            return content.create_dataset(f'r{len(content)}', data=values).ref

        def cell(rows: Sequence[Sequence[h5py.Reference]]) -> np.ndarray:
            return np.array(rows, dtype=h5py.ref_dtype).T

        empty = keep(np.zeros(2, np.uint64))
        for boxes in ('labeled', 'detected'):
            pairs = []
            for people in CUHK03_IMAGES.values():
                rows = [[empty] * 10 for _ in range(people)]
                for row in rows:
                    for place in CUHK03_PLACES:
                        row[place] = keep(random.integers(0, 256, (3, 8, 16), dtype=np.uint8))
                pairs.append([keep(cell(rows))])
            archive.create_dataset(boxes, data=cell(pairs))
        # People 1 and 3 of the first pair, then 2 of the second.
        sets = [[keep(np.array(people, float).T)] for people in ([[1, 1], [1, 3]], [[2, 2]])]
        archive.create_dataset('testsets', data=cell(sets))
    return path
