from __future__ import annotations

import torch

from .errors import GalleryError


def usable_device(name: str | torch.device) -> torch.device:
    """Turn the name of a device into the device, if this machine has it.

    Raises:
        GalleryError: If there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise GalleryError(f'device {name!r} is unknown: take cpu, cuda or cuda:0') from error
    count = torch.cuda.device_count()
    if device.type == 'cuda' and (device.index or 0) >= count:
        raise GalleryError(f'device {str(device)!r} is not there: torch sees {count} GPUs here')
    return device
