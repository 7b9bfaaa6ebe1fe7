"""Which public data set a folder is laid out as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# What a folder has, as patterns; those that others would fit too come last.
_LAYOUTS: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    (dict(type='MSMT17'), ('list_query.txt',)),
    (dict(type='CUHK03', boxes='labeled'), ('images_labeled', '*new_protocol*labeled.mat')),
    (dict(type='CUHK03', boxes='detected'), ('images_detected', '*new_protocol*detected.mat')),
    (dict(type='CUHK03', boxes='labeled'), ('labeled/bounding_box_train', 'labeled/query')),
    (dict(type='CUHK03', boxes='detected'), ('detected/bounding_box_train', 'detected/query')),
    (dict(type='LTCC'), ('train', 'test', 'query/[0-9]*_[0-9]*_c[0-9]*_*.png')),
    (dict(type='PRCC'), ('rgb/train', 'rgb/test/A')),
    (dict(type='VeRi776'), ('image_train', 'image_query', 'image_test')),
    (dict(type='VehicleID'), ('image', 'train_test_split')),
    (dict(type='MARS'), ('bbox_train', 'bbox_test', 'info')),
    (dict(type='PartialREID'), ('partial_body_images', 'whole_body_images')),
    (dict(type='OccludedREID'), ('occluded_body_images', 'whole_body_images')),
    (dict(type='PRID2011'), ('single_shot/cam_a', 'single_shot/cam_b')),
    (dict(type='GRID'), ('probe', 'gallery', 'features_and_partitions.mat')),
    (dict(type='CUHK02'), ('P1/cam1', 'P5/cam2')),
    (dict(type='CUHKSYSU'), ('cropped_images/p*_s*_*.jpg',)),
    (dict(type='ILIDS'), ('Persons/[0-9]*.jpg',)),
    (dict(type='VIPeR'), ('cam_a/[0-9]*_[0-9]*.bmp', 'cam_b/[0-9]*_[0-9]*.bmp')),
)


def recognize_layout(folder: str) -> dict[str, Any]:
    """Tell the data set that a folder is, by what it holds.

    Args:
        folder: The folder.

    Returns:
        Settings of the data set; empty if it is none of the public ones with a layout of their own.
    """
    root = Path(folder)
    for settings, patterns in _LAYOUTS:
        if all(any(root.glob(pattern)) for pattern in patterns):
            return dict(settings, data_root=folder)
    return {}
