"""Config files: finding one by its path or its name, and reading it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import mmengine
from mmengine.config import Config

import fusionreid
from fusionreid.errors import ConfigError, UserError
from fusionreid.workarounds.collate_scope import drop_collate_scopes

from .building import one_line

# Folders with what is no config of a model of ours.
OTHERS = frozenset(('_base_', 'reuse'))


def config_folder() -> Path:
    """The folder of the configs that come with the package.

    Returns:
        ``fusionreid/.mim/configs`` of an installed package, ``configs`` of a checkout.
    """
    package = Path(fusionreid.__file__).parent
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def packaged_configs() -> dict[str, Path]:
    """Find the configs that come with the package.

    Returns:
        Paths by name, which is the file's without ``.py``; sorted. Building blocks below
        ``_base_``, and models of other projects below ``reuse``, are left out.

    Example:
        >>> 'fusionreid_vitb_r50_market1501' in packaged_configs()
        True
    """
    root = config_folder()
    paths = [path for path in root.rglob('*.py') if OTHERS.isdisjoint(path.relative_to(root).parts)]
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def config_metadata() -> dict[str, dict[str, Any]]:
    """Read what the metafiles say about the configs that come with the package.

    Returns:
        An entry for each config by its name, as in the OpenMMLab's ``metafile.yml``: ``Metadata``,
        ``Config`` and, where numbers are published, ``Results``; in the order of
        ``model-index.yml``.

    Example:
        >>> config_metadata()['fusionreid_vitb_r50_msmt17']['Results'][0]['Metrics']['mAP']
        69.5
    """
    root = config_folder().parent
    metafiles = mmengine.load(root / 'model-index.yml')['Import']
    return {
        model['Name']: model for file in metafiles for model in mmengine.load(root / file)['Models']
    }


def find_config(name: str | Path) -> Path:
    """Find a config by its path, or a packaged one by its name.

    Args:
        name: Path of a file, or a name such as ``fusionreid_vitb_r50_market1501``, with or without
            ``.py``; the folder of a packaged config may stand before it or not.

    Returns:
        Its path. A file in the current folder comes before a packaged config of the same name.

    Raises:
        ConfigError: If there is neither; the message gives names that are close.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = packaged_configs()
    if path.stem in known and path.suffix in ('', '.py') and _is_packaged(path, known[path.stem]):
        return known[path.stem]
    close = difflib.get_close_matches(path.stem, known, n=3)
    hint = f'; close to it: {", ".join(close)}' if close else ''
    raise ConfigError(
        f'there is no config file {str(name)!r} ({path.absolute()}), and none of the package has '
        f'this name (fusionreid configs lists them){hint}'
    )


def _is_packaged(asked: Path, packaged: Path) -> bool:
    """Whether the folders that were given with a name, if any, are those of a packaged config."""
    folders = asked.parent.parts
    return not folders or packaged.parent.parts[-len(folders) :] == folders


def read_config(name: str | Path) -> Config:
    """Read a config file; it is Python, and run.

    Args:
        name: Path, or the name of a packaged config; see :func:`find_config`.

    Returns:
        The config with all that it inherits.

    Raises:
        ConfigError: If there is none, or it is no valid config.

    Example:
        >>> read_config('fusionreid_vitb_r50_market1501').train_cfg.max_epochs
        180
    """
    path = find_config(name)
    try:
        cfg = Config.fromfile(str(path))
    except UserError:
        raise
    except Exception as error:  # a config is Python, in which anything may be wrong
        raise ConfigError(
            f'{path} is no valid config ({type(error).__name__}: {one_line(error)})'
        ) from error
    drop_collate_scopes(cfg)
    return cfg
