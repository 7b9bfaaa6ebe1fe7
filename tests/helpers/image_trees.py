"""Small image folders laid out as the data sets are."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import numpy as np
from PIL import Image

# mmengine collects garbage for every data set that it serializes; without this, each of the many
# small ones below walks all objects of all imported libraries.
gc.freeze()

MARKET_FILES = {
    'bounding_box_train': [
        '0007_c1s1_000151_01.jpg',
        '0007_c2s1_000151_01.jpg',
        '0002_c6s1_000451_03.jpg',
        '0010_c3s2_000001_00.jpg',
    ],
    'query': ['0005_c1s1_000001_00.jpg', '0003_c2s1_000001_00.jpg'],
    'bounding_box_test': [
        '0005_c2s1_000001_01.jpg',
        '0003_c4s1_000001_01.jpg',
        '-1_c1s1_000401_03.jpg',
        '-1_c5s1_000401_03.jpg',
        '0000_c1s1_000151_01.jpg',
    ],
}

MSMT17_LISTS = {
    'list_train.txt': [('0001/0001_000_01_0303morning_0015_0.jpg', 1)],
    'list_val.txt': [
        ('0001/0001_001_15_0303morning_0016_0.jpg', 1),
        ('0000/0000_000_05_0303noon_0001_0.jpg', 0),
    ],
    'list_query.txt': [('0000/0000_000_02_0303morning_0015_0.jpg', 0)],
    'list_gallery.txt': [
        ('0001/0001_000_03_0303morning_0015_0.jpg', 1),
        ('0000/0000_001_04_0303morning_0016_0.jpg', 0),
    ],
}


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (24, 12)) -> Path:
    """Write a noisy JPEG of ``size`` (height, width); smooth noise, so that it survives JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 3, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC).save(path, quality=95)
    return path


def write_market(root: Path, files: dict[str, list[str]] | None = None) -> Path:
    """Write a tree in Market-1501's layout."""
    for folder, names in (MARKET_FILES if files is None else files).items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for seed, name in enumerate(names):
            write_image(root / folder / name, seed)
    return root


def write_msmt17(root: Path, release: str = 'V1') -> Path:
    """Write a tree in MSMT17's layout, with an identity 1 in train and val."""
    train, test = {'V1': ('train', 'test'), 'V2': ('mask_train_v2', 'mask_test_v2')}[release]
    for list_name, entries in MSMT17_LISTS.items():
        folder = root / (train if list_name in ('list_train.txt', 'list_val.txt') else test)
        for seed, (path, _) in enumerate(entries):
            write_image(folder / path, seed)
        lines = [f'{path} {person_id}' for path, person_id in entries]
        (root / list_name).write_text('\n'.join(lines) + '\n')
    return root


def write_csv(root: Path, rows: list[str], header: str = 'path,person_id,camera_id,role') -> Path:
    """Write ``people.csv`` and the images that it lists."""
    root.mkdir(parents=True, exist_ok=True)
    (root / 'people.csv').write_text('\n'.join([header, *rows]) + '\n')
    for seed, row in enumerate(rows):
        write_image(root / re.split('[,;]', row)[0], seed)
    return root
