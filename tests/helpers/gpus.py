"""Devices to test on: the CPU everywhere, GPUs where there are any."""

from __future__ import annotations

import pytest
import torch

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs an NVIDIA GPU that torch can use'
)
needs_two_gpus = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason='needs two NVIDIA GPUs that torch can use'
)
DEVICES = ('cpu', pytest.param('cuda', marks=needs_gpu))
# What commands choose by themselves.
DEFAULT = 'cuda' if torch.cuda.is_available() else 'cpu'
