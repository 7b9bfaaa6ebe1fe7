"""What a config says twice, and the errors for values that disagree."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from fusionreid.config import build_errors
from fusionreid.datasets.samplers import PKSampler
from fusionreid.datasets.seeded_augmentation import seeded_augmentation
from fusionreid.errors import ConfigError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.models import FusionReID
from fusionreid.models.image_size import check_image_size
from fusionreid.models.layers.domain_batch_norm import DomainBatchNorm
from fusionreid.models.retrievers.fusionreid import compute_features
from fusionreid.registry import HOOKS
from fusionreid.structures import ReIDDataSample


def _data_set(loader: DataLoader[Any]) -> BaseDataset:
    """The data set of a loader, as mmengine builds it and torch does not know it."""
    dataset: Any = loader.dataset
    return dataset


@HOOKS.register_module()
class ConsistencyCheckHook(Hook):
    """Compares what the config says twice before the first step.

    That is the number of identities, that of cameras, the batch size, the size of the images, the
    names of joined data sets, and
    those of features.

    Raises:
        ConfigError: Naming both numbers and the setting to change.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Check the training set against heads, camera embedding and sampler.

        Args:
            runner: The runner, with its loops built.
        """
        loader = runner.train_dataloader
        model = self._unwrapped(runner)
        num_ids = _data_set(loader).metainfo.get('num_ids')
        if num_ids is not None and model.num_classes != num_ids:
            raise ConfigError(
                f'the heads classify {model.num_classes} identities, the training set has '
                f'{num_ids}: '
                f'set model.head.num_classes={num_ids}'
            )
        self._check_cameras(runner, loader)
        self._check_sets(runner, loader)
        self._check_size(runner, loader, 'train_dataloader')
        sampler = loader.sampler
        if isinstance(sampler, PKSampler) and loader.batch_size != sampler.batch_size:
            raise ConfigError(
                f'batch_size={loader.batch_size} is not ids_per_batch x instances_per_id = '
                f'{sampler.ids_per_batch} x '
                f'{sampler.instances_per_id}: set train_dataloader.batch_size={sampler.batch_size}'
            )
        if runner.val_loop is not None:
            # After hours of training it would be late to find that nothing can be scored.
            self.before_val(runner)
            self._check_matches(runner.val_dataloader, runner.val_evaluator)
            self._check_best(runner)

    def before_val(self, runner: Runner) -> None:
        """Check cameras and image size of the validation set and the features to be scored.

        Args:
            runner: The runner, with its loops built.
        """
        self._check_cameras(runner, runner.val_dataloader)
        self._check_size(runner, runner.val_dataloader, 'val_dataloader')
        self._check_features(runner, runner.val_evaluator)

    def before_test(self, runner: Runner) -> None:
        """Check cameras and image size of the test set and the features to be scored.

        Args:
            runner: The runner, with its loops built.
        """
        self._check_cameras(runner, runner.test_dataloader)
        self._check_size(runner, runner.test_dataloader, 'test_dataloader')
        self._check_features(runner, runner.test_evaluator)

    @staticmethod
    def _unwrapped(runner: Runner) -> FusionReID:
        return runner.model.module if is_model_wrapper(runner.model) else runner.model

    def _check_cameras(self, runner: Runner, loader: DataLoader[Any]) -> None:
        model = self._unwrapped(runner)
        in_data = _data_set(loader).metainfo.get('num_cameras')
        if not model.use_cameras or in_data is None or model.num_cameras in (0, in_data):
            return
        raise ConfigError(
            f'the side information embedding has {model.num_cameras} cameras, the data set has '
            f'{in_data}: to train, set model.branches.transformer.backbone.num_cameras={in_data}; '
            'to score a model on cameras it was not trained with, set model.use_cameras=False, '
            'which takes the mean camera embedding'
        )

    def _check_sets(self, runner: Runner, loader: DataLoader[Any]) -> None:
        """Check that batch norms of several data sets are those of the sets that are joined."""
        joined = [each.name for each in _data_set(loader).metainfo.get('joined', ())]
        for name, branch in getattr(self._unwrapped(runner), 'branches', {}).items():
            named = list(getattr(branch.backbone, 'domain_norm', ()))
            if named and named != joined:
                raise ConfigError(
                    f'domain_norm of the branch {name} names the sets {named}, the training set '
                    f'joins {joined or "none"}: give the names of its table, in its order'
                )
            if named and not any(isinstance(each, DomainBatchNorm) for each in branch.modules()):
                raise ConfigError(
                    'sync_bn has replaced the batch norms of domain_norm: leave one of them out'
                )

    def _check_size(self, runner: Runner, loader: DataLoader[Any], name: str) -> None:
        """Check the first image of a data set, as its pipeline gives it, against the model."""
        dataset = _data_set(loader)
        if not len(dataset):
            return
        with seeded_augmentation(0), torch.random.fork_rng(devices=[]):
            item = dataset[0]
        inputs = item.get('inputs') if isinstance(item, dict) else None
        if not isinstance(inputs, torch.Tensor) or inputs.ndim != 3:
            return  # a pipeline of another project
        size = (inputs.shape[1], inputs.shape[2])
        check_image_size(self._unwrapped(runner), size, f'{name}.dataset.pipeline')
        self._try_model(self._unwrapped(runner), inputs)
        stated = runner.cfg.get('input_size')
        if stated is not None and tuple(stated) != size:
            raise ConfigError(
                f'input_size={tuple(stated)} (height, width), {name}.dataset.pipeline gives images '
                f'of {size}: set input_size={size}, or scale={tuple(stated)[::-1]} (width, height) '
                'in the pipeline'
            )

    @staticmethod
    def _try_model(model: Any, inputs: torch.Tensor) -> None:
        """Encode an image: parts that do not fit together are told before the first step."""
        if not isinstance(model, FusionReID):
            return
        was_training = model.training
        model.eval()
        shape = f'{inputs.shape[1]}x{inputs.shape[2]}'
        with torch.no_grad(), build_errors(f'the model cannot encode an image of {shape} pixels'):
            data = model.data_preprocessor(dict(inputs=[inputs], data_samples=[ReIDDataSample()]))
            compute_features(model, data['inputs'], None)
        model.train(was_training)

    def _check_best(self, runner: Runner) -> None:
        """Check that the score by which the best checkpoint is chosen will be there."""
        metrics = runner.val_evaluator.metrics
        if not all(isinstance(metric, ReIDMetric) for metric in metrics):
            return
        features = list(self._unwrapped(runner).feature_widths)
        known = [name for metric in metrics for name in metric.score_names(features)]
        for hook in runner.hooks:
            wanted = getattr(hook, 'save_best', None) or []
            for name in [wanted] if isinstance(wanted, str) else wanted:
                if name != 'auto' and name not in known:
                    raise ConfigError(
                        f'default_hooks.checkpoint.save_best={name}: there is no such score, '
                        f'choose one of {", ".join(known)}'
                    )

    @staticmethod
    def _check_matches(loader: DataLoader[Any], evaluator: Evaluator) -> None:
        """Check that a query has a match at all, for the metrics that remove same cameras."""
        if not any(getattr(metric, 'remove_same_camera', False) for metric in evaluator.metrics):
            return
        seen: dict[int, set[int]] = {}
        queries = []
        dataset = _data_set(loader)
        for item in map(dataset.get_data_info, range(len(dataset))):
            person, camera, role = (item.get(key) for key in ('person_id', 'camera_id', 'role'))
            if role == 'query':
                queries.append((person, camera))
            elif role == 'gallery':
                seen.setdefault(person, set()).add(camera)
        for person, camera in queries:
            cameras = seen.get(person, set())
            # An unknown camera, -1, is never the same.
            if cameras - {camera} or (cameras and camera < 0):
                return
        if queries:
            raise ConfigError(
                f'none of the {len(queries)} queries of the validation set has a match in the '
                'gallery from another camera: with one camera, or none, set '
                'val_evaluator.remove_same_camera=False'
            )

    def _check_features(self, runner: Runner, evaluator: Evaluator) -> None:
        known = self._unwrapped(runner).feature_widths
        for metric in evaluator.metrics:
            for name in getattr(metric, 'features', None) or []:
                if name != ALL and name not in known:
                    raise ConfigError(
                        f'feature {name!r} is to be scored, but the model gives '
                        f'{", ".join(known)} and {ALL!r}'
                    )
