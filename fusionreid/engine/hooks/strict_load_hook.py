"""Which checkpoints a test or a resumed training accepts: those that fit exactly."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from fusionreid.checkpoints.mismatch import describe_mismatch
from fusionreid.errors import WeightsError
from fusionreid.registry import HOOKS


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuses a checkpoint that does not fit the model exactly.

    mmengine only warns, and scores or resumes a model that is partly random.
    """

    # Before the optimizer's state is compared, which follows from the model.
    priority = 'ABOVE_NORMAL'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare names and shapes.

        Args:
            runner: The runner, with the model to load into.
            checkpoint: What was loaded, a state dict or a dict that holds one.

        Raises:
            WeightsError: Naming what is missing, left over or of another shape.
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
