"""Say what a weight file is: ``inspect_weights.py FILE``."""

from __future__ import annotations

import argparse
import sys

from fusionreid.checkpoints import WeightsError
from fusionreid.checkpoints.inspection import inspect_weights
from fusionreid.text_table import format_table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Say what a file of weights is')
    parser.add_argument('file', help='PyTorch or .safetensors file')
    args = parser.parse_args(argv)
    try:
        facts = inspect_weights(args.file)
    except WeightsError as error:
        sys.exit(f'error: {error}')
    print(format_table(facts))


if __name__ == '__main__':
    main()
