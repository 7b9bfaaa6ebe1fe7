"""Convert a checkpoint of this project to a state dict for the authors' released code.

fusionreid convert-to-release CHECKPOINT.pth RELEASED.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionreid.checkpoints import read_weight_file, write_weight_file
from fusionreid.checkpoints.release import export_original_state
from fusionreid.checkpoints.release.conversion import (
    check_exportable,
    check_strict,
    read_model_config,
)
from fusionreid.checkpoints.release.part_table import part_table
from fusionreid.checkpoints.weight_file import find_state_dict
from fusionreid.config.files import read_config
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.utils.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('src', help='checkpoint of this project')
    parser.add_argument('dst', help='state dict to write')
    parser.add_argument(
        '--config', help='config of the model (default: the one stored in the checkpoint)'
    )


def _model_config(content: dict[str, Any], path: str | None) -> dict[str, Any] | None:
    """Find the config of the model: from a file, else from the checkpoint, else None."""
    if path:
        model = read_config(path).to_dict().get('model')
        if not isinstance(model, dict) or not isinstance(model.get('branches'), dict):
            raise ConfigError(f'{path} has no model with branches')
        return model
    meta = content.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    return read_model_config(text) if isinstance(text, str) else None


def run(args: argparse.Namespace) -> None:
    """Convert the file, and say whether the settings could be checked."""
    if Path(args.src).resolve() == Path(args.dst).resolve():
        raise WeightsError('SRC and DST have to be different files')
    content = read_weight_file(args.src)
    try:
        state, _ = find_state_dict(content)
        model = _model_config(content, args.config)
        if model:
            check_exportable(model)
            if args.config:
                check_strict(model, state)
        unused = content.get('unused_original')
        exported = export_original_state(state, find_state_dict(unused)[0] if unused else None)
    except WeightsError as error:
        raise WeightsError(f'{args.src}: {error}') from error
    # The authors' loader takes the weights from the top of the file.
    write_weight_file(exported, args.dst)
    print(part_table(state))
    if model is None:
        say(
            "not checked, for lack of a config: the authors' code takes these weights for a "
            "model with the stem 'release' and 12 heads in the neck"
        )
    say(f'wrote {args.dst}')
