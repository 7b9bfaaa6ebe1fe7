"""What a checkpoint may hold: tensors and primitive values, which load without running code."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from fusionreid.registry import HOOKS


def to_primitives(value: Any) -> Any:
    """Turn NumPy scalars and arrays into Python numbers and lists.

    Args:
        value: The value; what dicts, lists and tuples hold is turned too.

    Returns:
        The value in Python's types; what is not NumPy's stays.

    Example:
        >>> to_primitives({'lr': np.float64(0.1), 'ids': (np.arange(3), 'all')})
        {'lr': 0.1, 'ids': ([0, 1, 2], 'all')}
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: to_primitives(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_primitives(item) for item in value)
    return value


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Keeps checkpoints to primitive values, so that ``torch.load(weights_only=True)`` reads them.

    mmengine stores its log history as objects, which today's torch refuses to load, whether for
    resuming, testing or as pretrained weights.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace history buffers and NumPy values.

        Args:
            runner: The runner.
            checkpoint: What will be saved; changed in place.
        """
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: dict(
                log_history=buffer._log_history.tolist(),
                count_history=buffer._count_history.tolist(),
                max_length=buffer.max_length,
            )
            for name, buffer in hub['log_scalars'].items()
        }
        hub['runtime_info'] = to_primitives(hub['runtime_info'])
        checkpoint['meta'] = to_primitives(checkpoint['meta'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Rebuild the history buffers.

        Args:
            runner: The runner.
            checkpoint: What was loaded; changed in place.
        """
        hub = checkpoint.get('message_hub')
        if hub:
            hub['log_scalars'] = {
                name: HistoryBuffer(**buffer) if isinstance(buffer, dict) else buffer
                for name, buffer in hub['log_scalars'].items()
            }
