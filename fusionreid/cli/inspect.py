"""Say what a weight file is: ``fusionreid inspect FILE``."""

from __future__ import annotations

import argparse

from fusionreid.checkpoints.inspection import inspect_weights
from fusionreid.utils.tables import format_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('file', help='PyTorch or .safetensors file')


def run(args: argparse.Namespace) -> None:
    """Print the facts."""
    print(format_table(inspect_weights(args.file)))
