"""The features that a teacher has of the images that a student is trained on, on disk."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from torch import Tensor
from torch.utils.data import DataLoader

from fusionreid.checkpoints import locate_weight_file
from fusionreid.errors import ConfigError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_set import MANIFEST
from fusionreid.models import FusionReIDDistiller
from fusionreid.utils.files import file_sha256
from fusionreid.utils.progress import Progress

# What the features depend on, and how an error calls it.
_MADE_OF = dict(
    checkpoint='another checkpoint of the teacher',
    model='another config of the teacher',
    precision='another precision of the teacher',
    pipeline='another test pipeline',
    normalization='another normalization of the images',
    images='other images',
)


def clean_training_set(cfg: Config) -> dict[str, Any]:
    """Make the config of the training set with the pipeline of the test set.

    Args:
        cfg: The whole config.

    Returns:
        Config of a data set that gives the training images as a model is scored on them.

    Raises:
        ConfigError: If the config has no test pipeline.
    """
    for name in ('test_dataloader', 'val_dataloader'):
        if loader := cfg.get(name):
            return dict(cfg.train_dataloader.dataset, pipeline=loader.dataset.pipeline)
    raise ConfigError(
        'model.teacher.cache keeps features of images as they are scored, but the config has '
        'neither a test_dataloader nor a val_dataloader with a pipeline'
    )


def describe_origin(
    student: FusionReIDDistiller, dataset: BaseDataset, pipeline: Any
) -> dict[str, str]:
    """Describe all that the features of a teacher depend on.

    Args:
        student: The model, with its teacher.
        dataset: The images.
        pipeline: Config of what is done to them.

    Returns:
        Checksums and texts by name; equal for equal features.

    Raises:
        WeightsError: If there is no checkpoint of the teacher.
    """
    teacher, normalization = student.teacher, student.data_preprocessor
    images = hashlib.sha256()
    for path in _paths(dataset):
        images.update(f'{path}\n{file_sha256(path)}\n'.encode('utf-8', 'surrogateescape'))
    return dict(
        checkpoint=file_sha256(locate_weight_file(teacher.checkpoint)),
        model=_digest(Config(dict(model=teacher.config)).dump()),
        precision=str(teacher.dtype),
        pipeline=_digest(Config(dict(pipeline=pipeline)).dump()),
        normalization=_digest(repr([b.tolist() for b in normalization.buffers()])),
        images=images.hexdigest(),
    )


def read_features(folder: Path, origin: dict[str, str]) -> FeatureSet | None:
    """Read the features that :func:`compute_features` has saved.

    Args:
        folder: Where they are.
        origin: From :func:`describe_origin`.

    Returns:
        The features; None if there are none.

    Raises:
        ScoringError: If they are damaged.
        ConfigError: If they were made of something else.
    """
    if not (folder / MANIFEST).is_file():
        return None
    features = FeatureSet.load(folder)
    for name, value in origin.items():
        if features.protocol.get(name) != value:
            raise ConfigError(
                f'model.teacher.cache={folder} holds features of {_MADE_OF[name]}: remove the '
                'folder, or name another one'
            )
    return features


@torch.no_grad()
def compute_features(
    student: FusionReIDDistiller, dataset: BaseDataset, loader: dict[str, Any]
) -> FeatureSet:
    """Compute a teacher's features of all images.

    Args:
        student: The model, with its teacher.
        dataset: The images, with a pipeline.
        loader: Config of a data loader, of which ``batch_size`` and ``num_workers`` are taken.

    Returns:
        The features, not normalized, in the order of the data set.

    Raises:
        ConfigError: If the images do not have the size that the teacher is built for.
    """
    teacher, parts = student.teacher, []
    batches = DataLoader(
        dataset,
        batch_size=loader['batch_size'],
        num_workers=loader.get('num_workers', 0),
        collate_fn=pseudo_collate,
    )
    meter, done = Progress('features of the teacher', len(dataset), sys.stderr.isatty()), 0
    for batch in batches:
        data = student.data_preprocessor(batch, training=False)
        found = teacher.compute(data['inputs'], data['data_samples'], student.data_preprocessor)
        parts.append(torch.cat(list(found.values()), dim=1).cpu())
        meter.update(done := done + len(parts[-1]))
    return FeatureSet(
        features=torch.cat(parts),
        widths=teacher.widths,
        person_ids=_column(dataset, 'person_id'),
        camera_ids=_column(dataset, 'camera_id'),
        roles=['gallery'] * len(dataset),
        img_paths=_paths(dataset),
    )


def _paths(dataset: BaseDataset) -> list[str]:
    return [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]


def _column(dataset: BaseDataset, name: str) -> Tensor:
    return torch.tensor([dataset.get_data_info(index)[name] for index in range(len(dataset))])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
