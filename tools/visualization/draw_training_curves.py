"""Draw losses, learning rate, mAP and Rank-1 of one or several training runs."""

import argparse
import sys
from pathlib import Path

from fusionreid.visualization import draw_training_curves, read_training_history


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work_dir of a run')
    parser.add_argument('-o', '--out', required=True, help='picture to write, e.g. curves.png')
    parser.add_argument('--names', nargs='+', help='names of the runs (default: their folders)')
    parser.add_argument('--title', default='Training curves')
    args = parser.parse_args()
    if args.names is None:
        args.names = [Path(work_dir).resolve().name for work_dir in args.work_dirs]
    if len(args.names) != len(args.work_dirs):
        parser.error(f'{len(args.work_dirs)} work dirs need as many names, got {len(args.names)}')
    if len(set(args.names)) != len(args.names):
        parser.error(f'the names of the runs must differ, got {args.names}; give others by --names')
    return args


def main() -> int:
    args = parse_args()
    try:
        histories = {
            name: read_training_history(work_dir)
            for name, work_dir in zip(args.names, args.work_dirs, strict=True)
        }
        figure = draw_training_curves(histories, args.title)
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'{args.out}: ' + ', '.join(histories))
    return 0


if __name__ == '__main__':
    sys.exit(main())
