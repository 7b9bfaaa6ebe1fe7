from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from fusionreid.datasets.samplers import PKSampler
from fusionreid.registry import HOOKS


@HOOKS.register_module()
class ConsistencyCheckHook(Hook):
    """Compares what the config says twice before the first step: identities, cameras and batch
    size.

    Raises:
        ValueError: Naming both numbers and the setting to change.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Check the training set against heads, camera embedding and sampler."""
        loader = runner.train_dataloader
        model = self._unwrapped(runner)
        num_ids = loader.dataset.metainfo.get('num_ids')
        if num_ids is not None and model.num_classes != num_ids:
            raise ValueError(
                f'the heads classify {model.num_classes} identities, the training set has '
                f'{num_ids}: '
                f'set model.head.num_classes={num_ids}'
            )
        self._check_cameras(runner, loader)
        sampler = loader.sampler
        if isinstance(sampler, PKSampler) and loader.batch_size != sampler.batch_size:
            raise ValueError(
                f'batch_size={loader.batch_size} is not ids_per_batch x instances_per_id = '
                f'{sampler.ids_per_batch} x '
                f'{sampler.instances_per_id}: set train_dataloader.batch_size={sampler.batch_size}'
            )

    def before_val(self, runner: Runner) -> None:
        """Check the cameras of the validation set."""
        self._check_cameras(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check the cameras of the test set."""
        self._check_cameras(runner, runner.test_dataloader)

    @staticmethod
    def _unwrapped(runner: Runner):
        return runner.model.module if is_model_wrapper(runner.model) else runner.model

    def _check_cameras(self, runner: Runner, loader: DataLoader) -> None:
        in_model = self._unwrapped(runner).num_cameras
        in_data = loader.dataset.metainfo.get('num_cameras')
        if in_model and in_data is not None and in_model != in_data:
            raise ValueError(
                f'the side information embedding has {in_model} cameras, the data set has '
                f'{in_data}: set '
                f'model.branches.transformer.backbone.num_cameras={in_data}, or 0 to leave the '
                f'embedding out'
            )
