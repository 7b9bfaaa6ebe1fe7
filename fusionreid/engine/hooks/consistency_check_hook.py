from __future__ import annotations

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from fusionreid.datasets.samplers import PKSampler
from fusionreid.errors import ConfigError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.registry import HOOKS


@HOOKS.register_module()
class ConsistencyCheckHook(Hook):
    """Compares what the config says twice before the first step: identities, cameras and batch
    size.

    Raises:
        ConfigError: Naming both numbers and the setting to change.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Check the training set against heads, camera embedding and sampler."""
        loader = runner.train_dataloader
        model = self._unwrapped(runner)
        num_ids = loader.dataset.metainfo.get('num_ids')
        if num_ids is not None and model.num_classes != num_ids:
            raise ConfigError(
                f'the heads classify {model.num_classes} identities, the training set has '
                f'{num_ids}: '
                f'set model.head.num_classes={num_ids}'
            )
        self._check_cameras(runner, loader)
        sampler = loader.sampler
        if isinstance(sampler, PKSampler) and loader.batch_size != sampler.batch_size:
            raise ConfigError(
                f'batch_size={loader.batch_size} is not ids_per_batch x instances_per_id = '
                f'{sampler.ids_per_batch} x '
                f'{sampler.instances_per_id}: set train_dataloader.batch_size={sampler.batch_size}'
            )

    def before_val(self, runner: Runner) -> None:
        """Check the cameras of the validation set and the features to be scored."""
        self._check_cameras(runner, runner.val_dataloader)
        self._check_features(runner, runner.val_evaluator)

    def before_test(self, runner: Runner) -> None:
        """Check the cameras of the test set and the features to be scored."""
        self._check_cameras(runner, runner.test_dataloader)
        self._check_features(runner, runner.test_evaluator)

    @staticmethod
    def _unwrapped(runner: Runner) -> nn.Module:
        return runner.model.module if is_model_wrapper(runner.model) else runner.model

    def _check_cameras(self, runner: Runner, loader: DataLoader) -> None:
        model = self._unwrapped(runner)
        in_data = loader.dataset.metainfo.get('num_cameras')
        if not model.use_cameras or in_data is None or model.num_cameras in (0, in_data):
            return
        raise ConfigError(
            f'the side information embedding has {model.num_cameras} cameras, the data set has '
            f'{in_data}: to train, set model.branches.transformer.backbone.num_cameras={in_data}; '
            'to score a model on cameras it was not trained with, set model.use_cameras=False, '
            'which takes the mean camera embedding'
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
