"""A folder whose content changes from one whole state to the next, never to a part of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fusionreid.errors import GalleryError
from fusionreid.utils import manifest as manifests
from fusionreid.utils.files import open_atomic
from fusionreid.utils.progress import report_bytes

MANIFEST = 'gallery.json'
FORMAT = 'fusionreid-gallery-3'
ADVICE = 'copy the index again from where it is whole, or index the images again into a new folder'
LOCK = '.lock'
GENERATION = 'generation-'
_GENERATION_NAME = re.compile(rf'{GENERATION}[0-9a-f]{{12}}')

Loaded = TypeVar('Loaded')


def save_generation(
    folder: str | Path,
    manifest: dict[str, Any],
    write: Callable[[Path], None],
    own: set[str],
    overwrite: bool = False,
) -> None:
    """Save a new state beside the old one, then switch to it by one rename.

    Whenever this is interrupted, the folder holds the old state whole, or the new one. What an
    interrupted save left behind goes with the next one.

    Args:
        folder: The folder; made if it does not exist.
        manifest: What goes into the small file that names the state.
        write: Writes the large files into the empty folder that it is given, and forces them to
            the disk.
        own: Names of the states that may be replaced; the name of the new one is added.
        overwrite: Replace any other state too.

    Raises:
        GalleryError: If the folder holds something else, such as a state that another process
            saved meanwhile, or cannot be written to.
    """
    folder = Path(folder)
    check_target(folder)
    try:
        with _locked(folder):
            current = _current(folder)
            if not overwrite and (folder / MANIFEST).exists() and current not in own:
                raise GalleryError(
                    f'{folder} holds an index that this one does not come from, or that was saved '
                    f'again meanwhile: nothing was saved, so run again to add to it (or say '
                    f'overwrite=True in Python)'
                )
            generation = folder / f'{GENERATION}{uuid.uuid4().hex[:12]}'
            generation.mkdir()
            own.add(generation.name)
            try:
                write(generation)
                _sync_folder(generation)
                content = dict(
                    format=FORMAT,
                    generation=generation.name,
                    files=manifests.record_files(generation),
                    **manifest,
                )
                with open_atomic(folder / MANIFEST) as file:
                    file.write(manifests.seal(content))
                _sync_folder(folder)
            except BaseException:
                # The switch may have been made before the error.
                if _current(folder) != generation.name:
                    shutil.rmtree(generation, ignore_errors=True)
                raise
            for old in folder.iterdir():
                if _GENERATION_NAME.fullmatch(old.name) and old.name != generation.name:
                    shutil.rmtree(old, ignore_errors=True)
            for partial in folder.glob(f'{MANIFEST}.*.part'):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise GalleryError(f'{folder} cannot be saved: {error}') from error


def other_generations(folder: Path) -> list[Path]:
    """List the states in a folder besides the current one, which a save should have removed.

    Args:
        folder: The folder of an index.

    Returns:
        Their folders.
    """
    current = _current(folder)
    return [
        path
        for path in sorted(folder.iterdir())
        if _GENERATION_NAME.fullmatch(path.name) and path.name != current
    ]


def check_target(folder: str | Path) -> None:
    """Make a folder that an index can be saved in, or see that it is one.

    Raises:
        GalleryError: If it holds something else, or cannot be written to.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise GalleryError(f'{folder} is a file: an index is a folder')
    if folder.is_dir() and not (folder / MANIFEST).exists() and _strangers(folder):
        raise GalleryError(
            f'{folder} is no index and not empty (it holds {_strangers(folder)[0]}): choose '
            f'another folder'
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _open_lock(folder):
            pass
    except OSError as error:
        raise GalleryError(f'{folder} cannot be saved: {error}') from error


def load_generation(
    folder: str | Path, read: Callable[[dict[str, Any], Path], Loaded], verify: bool = True
) -> Loaded:
    """Read the current state of a folder.

    Args:
        folder: The folder.
        read: Is given the manifest and the folder of the large files.
        verify: Whether all files are compared with their checksums first.

    Returns:
        What ``read`` returns.

    Raises:
        GalleryError: If there is no index, or it is damaged.
    """
    folder = Path(folder)
    while True:
        manifest = read_manifest(folder, verify)
        generation = folder / manifest['generation']
        try:
            if verify:
                _verify(folder, manifest)
            return read(manifest, generation)
        except (GalleryError, FileNotFoundError) as error:
            # Another process may have saved a newer state meanwhile and removed this one.
            if _current(folder) != generation.name:
                continue
            if isinstance(error, GalleryError):
                raise
            raise GalleryError(
                f'{folder} is damaged, a file is gone: {error.filename or error}: {ADVICE}'
            ) from error
        except OSError as error:
            raise GalleryError(f'{folder} cannot be read: {error}') from error


def _verify(folder: Path, manifest: dict[str, Any]) -> None:
    total = manifests.recorded_size(manifest, folder / MANIFEST, GalleryError)
    manifests.verify_files(
        folder / manifest['generation'],
        manifest,
        GalleryError,
        ADVICE,
        report_bytes(f'verifying {folder}', total),
        is_alone=True,
    )


def read_manifest(folder: str | Path, verify: bool = True) -> dict[str, Any]:
    """Read the small file of an index.

    Args:
        folder: The folder.
        verify: Whether its checksum is compared.

    Returns:
        Its content; of it, the format and the name of the current state are what they must be.

    Raises:
        GalleryError: If there is none, or it is not a gallery's.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise GalleryError(f'{folder} is no index: {path} does not exist')
    try:
        manifest = manifests.read_manifest(path, FORMAT, GalleryError, ADVICE, verify)
    except OSError as error:
        raise GalleryError(f'{path} cannot be read: {error}') from error
    generation = manifest.get('generation')
    if not isinstance(generation, str) or not _GENERATION_NAME.fullmatch(generation):
        raise GalleryError(f'{path} is damaged, {ADVICE}: it names {generation!r}')
    return manifest


def _current(folder: Path) -> str | None:
    try:
        return read_manifest(folder, verify=False)['generation']
    except GalleryError:
        return None


def _strangers(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir())
    ours = (MANIFEST, LOCK)
    return [n for n in names if not n.startswith(ours) and not _GENERATION_NAME.fullmatch(n)]


def _sync_folder(folder: Path) -> None:
    if sys.platform == 'win32':  # opens no folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open_lock(folder: Path) -> BinaryIO:
    """Open the lock file, made if it is missing, without following a link or waiting for a pipe."""

    def open_own(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0), 0o666)

    return open(folder / LOCK, 'rb+', buffering=0, opener=open_own)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second process from saving at the same time; the lock ends with the process."""
    with _open_lock(folder) as file:
        try:
            _lock(file)
        except OSError:
            raise GalleryError(f'another process is saving {folder}: try again later') from None
        yield


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed, or raise an OSError if another process has."""
    if sys.platform == 'win32':
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
