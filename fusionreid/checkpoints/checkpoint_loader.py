"""MMEngine loads its checkpoints through the reader of this package."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import Tensor
from torch.utils._pytree import tree_map_only

from .weight_file import find_state_dict, read_weight_file


@mmengine_checkpoint.CheckpointLoader.register_scheme(
    prefixes=(
        '',
        'http://',
        'https://',
        'torchvision://',
        'modelzoo://',
        'open-mmlab://',
        'openmmlab://',
        'hf-hub:',
    ),
    force=True,
)
def load_from_weight_file(filename: str, map_location: Any = None, **_: Any) -> Any:
    """Load a checkpoint for MMEngine's Runner, hooks and initializers; nothing in it is executed.

    Args:
        filename: Path, ``http(s)://`` address or name of a model zoo.
        map_location: Device of the tensors; None leaves them on the CPU. Of a dict or a function,
            as ``torch.load`` takes them, all tensors stay on the CPU.

    Returns:
        The content.

    Raises:
        WeightsError: As :func:`~fusionreid.checkpoints.read_weight_file` does.
    """
    content = read_weight_file(filename)
    meta = content.get('meta') if isinstance(content, dict) else None
    # Runner.resume() would run this text as Python; it writes the config as `cfg` itself.
    if isinstance(meta, dict) and meta.pop('config', None) is not None:
        print_log(
            f'{filename}: meta.config is set aside, since resuming would run it',
            'current',
            logging.WARNING,
        )
    # MMEngine knows no other name for the weights.
    if isinstance(content, dict) and 'state_dict' not in content:
        state, wrapper = find_state_dict(content)
        content = {**content, 'state_dict': state} if wrapper else content
    if isinstance(map_location, (str, torch.device)) and torch.device(map_location).type != 'cpu':
        content = tree_map_only(Tensor, lambda tensor: tensor.to(map_location), content)
    return content


# Its loader of mmcls:// calls this one by its name.
mmengine_checkpoint.load_from_http = load_from_weight_file
