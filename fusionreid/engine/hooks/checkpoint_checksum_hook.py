"""Checksums in the checkpoints of a training."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.checkpoints.tensor_checksums import add_checksums
from fusionreid.registry import HOOKS


@HOOKS.register_module()
class CheckpointChecksumHook(Hook):
    """Saves checksums of all tensors with a checkpoint, by which it is verified when it is loaded.

    It comes after all other hooks, which may still replace tensors: MMEngine's EMAHook exchanges
    the weights by their averages.
    """

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the checksums.

        Args:
            runner: The runner.
            checkpoint: What will be saved; changed in place.
        """
        add_checksums(checkpoint)
