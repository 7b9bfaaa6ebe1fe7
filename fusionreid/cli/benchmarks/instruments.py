"""Instruments of the speed benchmarks: time by phase, peak memory, the speed limit of a device."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

# Side of the square matrices whose product is the speed limit: large enough that a larger one is
# no faster.
PRODUCT_SIDES = dict(cuda=8192, cpu=1536)


class PhaseTimer:
    """Adds up the time that repeated work spends in named phases.

    On a GPU the phases are marked in its queue, so timing makes nobody wait; a phase then takes
    as long as the GPU is at it.

    Args:
        device: Device that works.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == 'cuda'
        self._marks: dict[str, list[tuple]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block as the phase's."""
        start = self._mark()
        yield
        self._marks.setdefault(name, []).append((start, self._mark()))

    def _mark(self) -> torch.cuda.Event | float:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> dict[str, float]:
        """Return the total time of each phase in seconds, in the order of their first use."""
        if not self._on_gpu:
            return {name: sum(b - a for a, b in marks) for name, marks in self._marks.items()}
        torch.cuda.synchronize()
        return {
            name: sum(start.elapsed_time(end) for start, end in marks) / 1e3
            for name, marks in self._marks.items()
        }


class PeakMemory:
    """Measures the most memory that is in use at once inside a block.

    On a GPU it is what PyTorch's tensors take, on a CPU the process's resident memory. ``peak`` is
    all of it in bytes, ``bytes`` what came on top of what was in use before.

    Args:
        device: Device whose memory counts.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak = self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            # Resets the peak of the resident set; where that is not possible, the peak so far
            # counts as in use.
            with contextlib.suppress(OSError):
                Path('/proc/self/clear_refs').write_text('5')
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = self._read()
        self.bytes = self.peak - self._before

    def _read(self) -> int:
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device)
        return resident_peak()


def resident_peak() -> int:
    """Return the largest resident memory of this process so far, in bytes; 0 on Windows."""
    status = Path('/proc/self/status')
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) << 10
    if sys.platform == 'win32':
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak << 10


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def matrix_product_rate(
    device: torch.device, dtype: torch.dtype, side: int | None = None, repeats: int = 10
) -> float:
    """Measure how fast a device multiplies large square matrices.

    Args:
        device: Device to measure.
        dtype: Type of the matrices.
        side: Rows and columns; None for a size that suits the device.
        repeats: Products that are timed; the fastest counts.

    Returns:
        Operations per second, two per multiply-add.
    """
    side = side or PRODUCT_SIDES[device.type]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out: Tensor = left @ right
    fastest = float('inf')
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        synchronize(device)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest
