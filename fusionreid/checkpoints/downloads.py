"""Downloading weights once, to a file whose name stands for the whole address."""

from __future__ import annotations

import hashlib
import http.client
import math
import os
import re
from pathlib import Path
from urllib.request import urlopen

import torch

from fusionreid.errors import WeightsError
from fusionreid.utils.files import atomic_path, file_sha256

# Variables of the environment: GiB of a file, and seconds without a byte, with their defaults.
LIMIT_VARIABLE, _LIMIT = 'FUSIONREID_DOWNLOAD_LIMIT', 20.0
TIMEOUT_VARIABLE, _TIMEOUT = 'FUSIONREID_DOWNLOAD_TIMEOUT', 60.0
_CHECKSUM = re.compile(r'sha256=([0-9a-f]{64})')


def download(url: str) -> Path:
    """Download a file of weights, unless it is there from an earlier time.

    Args:
        url: Address with ``http://`` or ``https://``. ``#sha256=<64 hexadecimal digits>`` at its
            end is compared with the file; no other fragment is known.

    Returns:
        The file, below PyTorch's hub folder. Its name is a checksum of the whole address, so files
        of the same name from two places do not meet.

    Raises:
        WeightsError: If it cannot be fetched, ends too early, sends nothing for
            ``FUSIONREID_DOWNLOAD_TIMEOUT`` seconds (60), is larger than
            ``FUSIONREID_DOWNLOAD_LIMIT`` GiB (20), or has another checksum.
    """
    address, _, fragment = url.partition('#')
    wanted = _CHECKSUM.fullmatch(fragment.lower())
    if fragment and wanted is None:
        raise WeightsError(f'{url}: expected #sha256=<64 hexadecimal digits> or nothing after #')
    suffix = '.safetensors' if address.partition('?')[0].endswith('.safetensors') else '.pth'
    name = hashlib.sha256(address.encode()).hexdigest()
    path = Path(torch.hub.get_dir()) / 'fusionreid' / f'{name}{suffix}'
    try:
        if path.is_file():
            _compare(path, wanted, f'{url}: {path}, which was downloaded before,')
        else:
            with atomic_path(path) as temporary:
                _fetch(address, temporary)
                _compare(temporary, wanted, f'{url}: what was downloaded')
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, WeightsError):
            raise
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f'{url}: the download failed ({reason}); without a network, give the path of a file'
        ) from error
    return path


def _fetch(address: str, path: Path) -> None:
    limit, timeout = _variable(LIMIT_VARIABLE, _LIMIT), _variable(TIMEOUT_VARIABLE, _TIMEOUT)
    with urlopen(address, timeout=timeout) as answer, open(path, 'wb') as file:
        expected = answer.headers.get('Content-Length')
        _check_size(int(expected or 0), limit)
        while block := answer.read(1 << 20):
            file.write(block)
            _check_size(file.tell(), limit)
        if expected is not None and file.tell() != int(expected):
            raise OSError(f'{file.tell()} of {expected} bytes arrived')


def _check_size(size: int, limit: float) -> None:
    if size > limit * 2**30:
        raise OSError(
            f'it is larger than {limit:g} GiB: look at the address, or raise {LIMIT_VARIABLE}'
        )


def _variable(name: str, default: float) -> float:
    """Read a number above 0 from the environment."""
    text = os.environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise WeightsError(f'the variable {name} must be a number above 0, got {text!r}')
    return number


def _compare(path: Path, wanted: re.Match[str] | None, what: str) -> None:
    if wanted is not None and (found := file_sha256(path)) != wanted[1]:
        raise WeightsError(f'{what} has the sha256 {found}, not the one that is asked for')
