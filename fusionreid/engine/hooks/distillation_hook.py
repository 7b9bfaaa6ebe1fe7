"""What a distillation keeps beside the student: its projections, and the teacher's features."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from fusionreid.checkpoints.mismatch import describe_mismatch
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.models import FusionReIDDistiller
from fusionreid.registry import DATASETS, HOOKS

from ..rank_watch import long_work
from ..teacher_features import (
    clean_training_set,
    compute_features,
    describe_origin,
    read_features,
)

KEY = 'distillation'


@HOOKS.register_module()
class DistillationHook(Hook):
    """Saves the losses' projections beside the student, and fills the teacher's cache.

    A checkpoint's weights are the student's alone, so that they fit the plain model. What a
    :class:`~fusionreid.models.FusionReIDDistiller` learns besides is kept under ``distillation``,
    by which a training is resumed exactly.

    With ``model.teacher.cache`` the teacher's features of all training images are computed before
    the first step, on the images as they are scored, without augmentation, and saved to that
    folder. Further trainings read them, once it is clear that checkpoint, config and precision of
    the teacher, test pipeline and images are the same.
    """

    # Before the optimizer's state is compared, which follows from the model.
    priority = 'ABOVE_NORMAL'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the weights of the losses.

        Args:
            runner: The runner.
            checkpoint: What will be saved; changed in place.
        """
        checkpoint[KEY] = {
            name: value.cpu()
            for name, value in _student(runner).distill_losses.state_dict().items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Load the weights of the losses, if a training is resumed.

        Args:
            runner: The runner.
            checkpoint: What was loaded.

        Raises:
            WeightsError: If its losses are of other widths.
        """
        if not runner._resume:
            return
        losses = _student(runner).distill_losses
        saved = checkpoint.get(KEY, {})
        if misfit := describe_mismatch(losses.state_dict(), saved):
            raise WeightsError(
                f'{runner._load_from} cannot be resumed with these distill_losses ({misfit}): take '
                'those of its training, or start a new one with its weights, --cfg-options '
                f'load_from={runner._load_from}'
            )
        losses.load_state_dict(saved)

    def before_train(self, runner: Runner) -> None:
        """Check the cameras of the training set, and fill or read the teacher's cache.

        Args:
            runner: The runner, with its loops built.

        Raises:
            ConfigError: If the training set has other cameras than the teacher was trained with, or
                the cache holds other features.
        """
        student = _student(runner)
        teacher = student.teacher
        trained_on: Any = runner.train_dataloader.dataset
        found = trained_on.metainfo.get('num_cameras')
        if found is not None and teacher.num_cameras not in (0, found):
            raise ConfigError(
                f'the teacher knows {teacher.num_cameras} cameras, the training set has {found}: '
                'take a teacher of the same cameras, or set use_cameras=False in the config of its '
                'model, which takes their mean'
            )
        if teacher.cache is None:
            return
        config = clean_training_set(runner.cfg)
        dataset = DATASETS.build(config)
        origin = describe_origin(student, dataset, config['pipeline'])
        folder = Path(teacher.cache)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f'model.teacher.cache={folder} cannot be made: {error.strerror}'
            ) from error
        features = read_features(folder, origin)
        with long_work('features of the teacher'):
            if features is None and is_main_process():
                made = compute_features(student, dataset, runner.cfg.train_dataloader)
                dataclasses.replace(made, protocol=dict(origin)).save(folder)
            # Of all processes: one that is late may have found what the first has just saved.
            barrier()
        if features is None:
            features = read_features(folder, origin)
        assert features is not None
        teacher.keep(features.features, features.img_paths)


def _student(runner: Runner) -> FusionReIDDistiller:
    model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not isinstance(model, FusionReIDDistiller):
        raise ConfigError(
            f'DistillationHook needs a model of the type FusionReIDDistiller, got '
            f'{type(model).__name__}: leave the hook out'
        )
    return model
