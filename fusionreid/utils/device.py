"""The device that a name stands for."""

from __future__ import annotations

import torch

from fusionreid.errors import ConfigError

KNOWN_TYPES = ('cpu', 'cuda')


def find_device(name: str | torch.device) -> torch.device:
    """Turn the name of a device into the device, if this machine has it.

    Args:
        name: ``'cpu'``, ``'cuda'``, or one of several GPUs such as ``'cuda:1'``.

    Returns:
        The device.

    Raises:
        ConfigError: If the name is unknown, or there is no such device here.

    Example:
        >>> find_device('cpu')
        device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in KNOWN_TYPES:
        raise ConfigError(f'device {str(name)!r} is unknown: expected cpu, cuda or, e.g., cuda:1')
    count = torch.cuda.device_count()
    if device.type == 'cuda' and (device.index or 0) >= count:
        raise ConfigError(f'device {str(name)!r} is not there: torch sees {count} GPUs here')
    return device


def has_accelerator() -> bool:
    """Say whether torch has a device here besides the CPU."""
    # torch.accelerator, which knows the others too, came with torch 2.6.
    devices = getattr(torch, 'accelerator', torch.cuda)
    return devices.is_available()
