"""Draw losses, learning rate, mAP and Rank-1 of one or several training runs.

fusionreid curves WORK_DIR -o curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fusionreid.utils.terminal import say
from fusionreid.visualization import draw_training_curves, read_training_history
from fusionreid.visualization.saving import save_picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work_dir of a run')
    parser.add_argument('-o', '--out', required=True, help='picture to write, e.g. curves.png')
    parser.add_argument('--names', nargs='+', help='names of the runs (default: their folders)')
    parser.add_argument('--title', default='Training curves')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Check the names, and fill them in where none are given."""
    if args.names is None:
        args.names = [Path(work_dir).resolve().name for work_dir in args.work_dirs]
    if len(args.names) != len(args.work_dirs):
        parser.error(f'{len(args.work_dirs)} work dirs need as many names, got {len(args.names)}')
    if len(set(args.names)) != len(args.names):
        parser.error(f'the names of the runs must differ, got {args.names}; give others by --names')


def run(args: argparse.Namespace) -> None:
    """Read the runs and draw them."""
    histories = {
        name: read_training_history(work_dir)
        for name, work_dir in zip(args.names, args.work_dirs, strict=True)
    }
    save_picture(draw_training_curves(histories, args.title), args.out)
    say(f'{args.out}: ' + ', '.join(histories))
