"""A folder of a model as the Hugging Face hub has it, read without trusting what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusionreid.errors import ConfigError, WeightsError
from fusionreid.utils.files import file_sha256

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
FORMAT = 'fusionreid-model-1'
# Bytes; the config of the largest model has less than a hundredth of it.
_LARGEST_CONFIG = 1 << 20


def hub_weights(path: str | Path) -> str | Path:
    """Find the weights of a model's folder.

    Args:
        path: A folder with ``config.json`` and ``model.safetensors``, or any other path.

    Returns:
        The file of weights in such a folder; anything else as it is.
    """
    return Path(path) / WEIGHTS if (Path(path) / CONFIG).is_file() else path


def read_hub_config(path: str | Path) -> dict[str, Any] | None:
    """Read the config beside a model's weights.

    Args:
        path: The file of weights.

    Returns:
        ``model`` and ``test_pipeline``, of values that JSON knows, and ``scores``, ``sha256`` if
        they are there. None if the file is none of such a folder.

    Raises:
        ConfigError: If the config is none, or of another program.
        WeightsError: If the weights are not those that the config was written for.
    """
    weights = Path(path)
    config = weights.parent / CONFIG
    if weights.name != WEIGHTS or not config.is_file():
        return None
    content = parse_hub_config(config)
    if (wanted := content.get('sha256')) is not None:
        check_hub_file(weights)
        if (found := file_sha256(weights)) != wanted:
            raise WeightsError(f'{weights} has the sha256 {found}, {config} is for {wanted!r:.80}')
    return content


def parse_hub_config(config: Path) -> dict[str, Any]:
    """Read ``config.json``; see :func:`read_hub_config`.

    Args:
        config: The file.

    Returns:
        What is in it.

    Raises:
        ConfigError: If it is none of ours.
    """
    check_hub_file(config)
    try:
        if config.stat().st_size > _LARGEST_CONFIG:
            raise ConfigError(f'{config} is larger than 1 MiB, which no config is')
        content = json.loads(config.read_text(encoding='utf-8'))
    # Python's parser reports nesting that is too deep for it as a RecursionError.
    except (OSError, RecursionError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f'{config} is no valid JSON ({error})') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ConfigError(
            f'{config} was not written by save_pretrained() of fusionreid (format {FORMAT}): name '
            f'the weights and their config file'
        )
    for name, kind in (('model', dict), ('test_pipeline', list)):
        if not isinstance(content.get(name), kind):
            raise ConfigError(f'{config}: {name} must be a {kind.__name__}')
    return content


def check_hub_file(path: Path) -> None:
    """Refuse what is no file of its folder: a pipe, a device, or a link to elsewhere.

    Args:
        path: A file in a model's folder. The hub's own cache has links from ``snapshots`` to
            ``blobs``, which are followed.

    Raises:
        ConfigError: If it is not.
    """
    if not path.is_file():
        raise ConfigError(f'{path}: there is no such file')
    folder, target = path.parent.resolve(), path.resolve()
    if not target.is_relative_to(folder) and target.parent != folder.parent.parent / 'blobs':
        raise ConfigError(f'{path} is a link to {target}, outside of its folder: copy the file')
