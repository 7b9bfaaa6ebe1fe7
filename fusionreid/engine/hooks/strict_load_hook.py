"""Which checkpoints a test or a resumed training accepts: those that fit exactly."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from fusionreid.checkpoints.mismatch import describe_mismatch
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.registry import HOOKS
from fusionreid.utils.names import camera_names


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuses a checkpoint that does not fit the model exactly.

    mmengine only warns, and scores or resumes a model that is partly random.
    """

    # Before the optimizer's state is compared, which follows from the model.
    priority = 'ABOVE_NORMAL'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare names and shapes, and the numbers of cameras that have names.

        Args:
            runner: The runner, with the model to load into.
            checkpoint: What was loaded, a state dict or a dict that holds one.

        Raises:
            WeightsError: Naming what is missing, left over or of another shape.
            ConfigError: If named cameras have other numbers than in the training.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        state = checkpoint.get('state_dict', checkpoint)
        state = {name.removeprefix('module.'): value for name, value in state.items()}
        misfit = describe_mismatch(model.state_dict(), state)
        if misfit:
            raise WeightsError(
                f'the checkpoint {runner._load_from} does not fit the model of this config: '
                f'{misfit}'
            )
        _check_camera_names(runner, model, checkpoint)


def _check_camera_names(runner: Runner, model: Any, checkpoint: dict[str, Any]) -> None:
    """Refuse images whose cameras have other numbers than the model was trained with.

    Raises:
        ConfigError: Naming the cameras of both.
    """
    if not (getattr(model, 'use_cameras', False) and getattr(model, 'num_cameras', 0)):
        return
    trained = camera_names(checkpoint.get('meta', {}).get('dataset_meta'))
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        found = camera_names(getattr(dataset, 'metainfo', None))
        if dataset is not None and found != trained:
            raise ConfigError(
                f'the model knows {_list_cameras(trained)}, the data set has '
                f'{_list_cameras(found)}: name them as in the training, in a table that has all of '
                f'them, or take the mean of the cameras (--cfg-options model.use_cameras=False)'
            )


def _list_cameras(names: dict[int, str]) -> str:
    if not names:
        return 'cameras by number'
    return 'the cameras ' + ', '.join(f'{number + 1} {name}' for number, name in names.items())
