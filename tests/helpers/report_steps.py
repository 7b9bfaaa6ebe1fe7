"""What steps of a report do in the tests: measure, fail, hang, be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusionreid.errors import ConfigError

SPEEDS = dict(data=2.0, forward=30.0, backward=60.0, optimizer=4.0)


def trained(speed: float = 10.0, **other: Any) -> dict[str, Any]:
    """A record of ``fusionreid benchmark train``."""
    return dict(
        config='tiny',
        batch_size=4,
        images_per_s=speed,
        speeds=[0.98 * speed, speed, 1.02 * speed],
        ms_per_step=SPEEDS,
        share_of_ceiling=0.5,
        ceiling_tflops=0.2,
        peak_gib=1.5,
        **other,
    )


def act(argv: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Do what the second argument names."""
    deed, *rest = argv[1:] or argv
    print('began', deed)
    if deed == 'doctor':
        yield dict(machine=dict(processor='2 cores of a CPU | x', GPUs='none'))
    elif deed == 'measure':
        yield trained(ratio=1.25, ratios=[1.2, 1.25, 1.3])
    elif deed == 'refuse':
        raise ConfigError('this config | trains nothing')
    elif deed == 'raise':
        raise ZeroDivisionError('a mistake')
    elif deed == 'exit':
        os._exit(3)
    elif deed == 'die':
        yield trained(3.0)
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == 'hang':
        yield trained(7.0)
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
        Path(rest[0]).write_text(str(child.pid))
        time.sleep(600)
