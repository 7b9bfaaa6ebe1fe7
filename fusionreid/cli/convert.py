"""Convert weights of the authors' released code to a checkpoint of this project.

fusionreid convert RELEASED.pth CHECKPOINT.pth --config MODEL.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fusionreid.checkpoints import read_state_dict, write_weight_file
from fusionreid.checkpoints.release import Conversion, convert_original
from fusionreid.checkpoints.release.part_table import part_table
from fusionreid.checkpoints.tensor_checksums import add_checksums
from fusionreid.errors import WeightsError
from fusionreid.utils.files import open_atomic
from fusionreid.utils.terminal import say

LISTED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('src', help='state dict of the released code')
    parser.add_argument('dst', help='checkpoint to write')
    parser.add_argument(
        '--config', metavar='OUT.py', help='config to write, with a model that fits'
    )
    parser.add_argument(
        '--input-size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='image size of the training (default: 256x128 or 384x128, whichever fits)',
    )
    parser.add_argument(
        '--stride', type=int, help='patch stride of the ViT (default: the one that fits)'
    )
    parser.add_argument(
        '--units',
        nargs='+',
        choices=('seu', 'mfu'),
        help='units of an HTM in their order (default: those present, seu before mfu)',
    )
    parser.add_argument(
        '--num-cameras', type=int, help='cameras of the data set, to check the weights against'
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together, and fill in what follows from others."""
    sizes = [*(args.input_size or []), 1 if args.stride is None else args.stride]
    if min(sizes) < 1 or (args.num_cameras or 0) < 0:
        parser.error('sizes and strides are positive, a number of cameras is not negative')
    if len(set(args.units or ())) < len(args.units or ()):
        parser.error(f'--units {" ".join(args.units)} names a unit twice')


def run(args: argparse.Namespace) -> None:
    """Convert the file, and say what was written."""
    targets = [Path(target).resolve() for target in (args.dst, args.config) if target]
    if Path(args.src).resolve() in targets or len(set(targets)) < len(targets):
        raise WeightsError('SRC, DST and the config have to be different files')
    state = read_state_dict(args.src)
    try:
        conversion = convert_original(
            state,
            size=tuple(args.input_size) if args.input_size else None,
            stride=args.stride,
            units=tuple(args.units) if args.units else None,
            num_cameras=args.num_cameras,
        )
    except WeightsError as error:
        raise WeightsError(f'{args.src}: {error}') from error
    add_checksums(conversion.checkpoint)
    write_weight_file(conversion.checkpoint, args.dst)
    if args.config:
        _write_config(conversion, args)
    print(part_table(conversion.state_dict))
    if conversion.unused:
        names = list(conversion.unused)
        more = f', ... ({len(names)} in all)' if len(names) > LISTED else ''
        say(f'without use, kept aside: {", ".join(names[:LISTED])}{more}')
    say(f'wrote {" and ".join(filter(None, (args.dst, args.config)))}')


def _write_config(conversion: Conversion, args: argparse.Namespace) -> None:
    """Write the config of a converted model."""
    title = f'# The model of {Path(args.src).name}, whose weights are in {Path(args.dst).name}.\n'
    try:
        with open_atomic(args.config) as file:
            file.write((title + conversion.config_text).encode())
    except OSError as error:
        raise WeightsError(f'{args.config}: cannot be written ({error})') from error
