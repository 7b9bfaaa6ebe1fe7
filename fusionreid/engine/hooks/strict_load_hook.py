from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from fusionreid.checkpoints.errors import WeightsError
from fusionreid.registry import HOOKS


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuses a checkpoint that does not fit the model exactly.

    mmengine only warns, and scores or resumes a model that is partly random.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes.

        Raises:
            WeightsError: Naming what is missing, left over or of another shape.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        state = checkpoint.get('state_dict', checkpoint)
        theirs = {
            name: tuple(getattr(value, 'shape', ()))
            for name, value in ((key.removeprefix('module.'), item) for key, item in state.items())
        }
        problems = [f'{name} is missing' for name in ours if name not in theirs]
        problems += [f'{name} is left over' for name in theirs if name not in ours]
        problems += [
            f'{name} has shape {theirs[name]}, the model {shape}'
            for name, shape in ours.items()
            if name in theirs and theirs[name] != shape
        ]
        if problems:
            more = f' and {len(problems) - 4} more' if len(problems) > 4 else ''
            raise WeightsError(
                f'the checkpoint {runner._load_from} does not fit the model of this config: '
                + '; '.join(problems[:4])
                + more
            )
