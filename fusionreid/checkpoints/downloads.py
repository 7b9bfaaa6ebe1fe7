"""Downloading weights once, to a file whose name stands for the whole address."""

from __future__ import annotations

import hashlib
import http.client
import re
from pathlib import Path
from urllib.request import urlopen

import torch

from fusionreid.errors import WeightsError
from fusionreid.utils.files import atomic_path, file_sha256

_TIMEOUT = 60.0  # seconds without an answer
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
        WeightsError: If it cannot be fetched, ends too early or has another checksum.
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
        raise WeightsError(f'{url}: the download failed ({reason})') from error
    return path


def _fetch(address: str, path: Path) -> None:
    with urlopen(address, timeout=_TIMEOUT) as answer, open(path, 'wb') as file:
        while block := answer.read(1 << 20):
            file.write(block)
        expected = answer.headers.get('Content-Length')
        if expected is not None and file.tell() != int(expected):
            raise OSError(f'{file.tell()} of {expected} bytes arrived')


def _compare(path: Path, wanted: re.Match[str] | None, what: str) -> None:
    if wanted is not None and (found := file_sha256(path)) != wanted[1]:
        raise WeightsError(f'{what} has the sha256 {found}, not the one that is asked for')
