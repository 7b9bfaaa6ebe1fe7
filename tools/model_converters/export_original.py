"""Convert weights for the authors' released code: ``export_original.py SRC DST [options]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from fusionreid.checkpoints import (
    WeightsError,
    export_original_state,
    read_weight_file,
    write_weight_file,
)
from fusionreid.checkpoints.conversion import check_exportable, check_strict, read_model_config
from fusionreid.checkpoints.report import part_table
from fusionreid.checkpoints.weight_file import find_state_dict
from fusionreid.engine.config_errors import read_config
from fusionreid.errors import ConfigError, UserError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Convert a checkpoint of this project to a state dict for the authors' code"
    )
    parser.add_argument('src', help='checkpoint of this project')
    parser.add_argument('dst', help='state dict to write')
    parser.add_argument(
        '--config', help='config of the model (default: the one stored in the checkpoint)'
    )
    return parser.parse_args(argv)


def model_config(content: dict, path: str | None) -> dict[str, Any] | None:
    """Find the config of the model: from a file, else from the checkpoint, else None."""
    if path:
        model = read_config(path).get('model')
        if not isinstance(model, dict) or not isinstance(model.get('branches'), dict):
            raise ConfigError(f'{path} has no model with branches')
        return model.to_dict()
    meta = content.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    return read_model_config(text) if isinstance(text, str) else None


def export(args: argparse.Namespace) -> tuple[dict[str, Tensor], bool]:
    """Convert the file; returns our state dict, and whether the settings could be checked."""
    if Path(args.src).resolve() == Path(args.dst).resolve():
        raise WeightsError('SRC and DST have to be different files')
    content = read_weight_file(args.src)
    try:
        state, _ = find_state_dict(content)
        model = model_config(content, args.config)
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
    return state, model is not None


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        state, checked = export(args)
    except UserError as error:
        sys.exit(f'error: {error}')
    print(part_table(state))
    if not checked:
        print(
            "not checked, for lack of a config: the authors' code takes these weights for a "
            "model with the stem 'release' and 12 heads in the neck"
        )
    print(f'wrote {args.dst}')


if __name__ == '__main__':
    main()
