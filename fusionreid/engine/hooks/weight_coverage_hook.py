"""Which checkpoints a training may start from: those in which most of the model is found."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from fusionreid.errors import WeightsError
from fusionreid.registry import HOOKS

LISTED = 4
# Of the parameters outside the heads, those that must be found under their name in their shape.
LEAST_SHARE = 0.9


@HOOKS.register_module()
class WeightCoverageHook(Hook):
    """Refuses to start training from a checkpoint in which little of the model is found.

    mmengine only warns, and trains from noise. The heads do not count: they belong to the
    identities of one data set.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare names and shapes.

        Args:
            runner: The runner, with the model to load into.
            checkpoint: What was loaded, a state dict or a dict that holds one.

        Raises:
            WeightsError: Naming the share and the first parameters that are not there.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        given = checkpoint.get('state_dict', checkpoint)
        shapes = {name.removeprefix('module.'): value.shape for name, value in given.items()}
        saved = model.state_dict()  # without what only trains the model
        wanted = {
            name: weight
            for name, weight in model.named_parameters()
            if not name.startswith('heads.') and name in saved
        }
        absent = [name for name, weight in wanted.items() if shapes.get(name) != weight.shape]
        total = sum(weight.numel() for weight in wanted.values())
        found = total - sum(wanted[name].numel() for name in absent)
        if found < LEAST_SHARE * total:
            more = ', ...' if len(absent) > LISTED else ''
            raise WeightsError(
                f'load_from={runner._load_from} holds {found / total:.0%} of the model, at least '
                f'{LEAST_SHARE:.0%} are expected; not there, or of another shape: '
                f'{", ".join(absent[:LISTED])}{more}. To start a branch from weights of another '
                "project, set its backbone's init_cfg"
            )
