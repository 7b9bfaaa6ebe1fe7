"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from datetime import timedelta

from fusionreid.utils.durations import read_duration
from fusionreid.visualization.color_scale import DEFAULT_COLORMAP

from .option_actions import OptionAction
from .processes import LAUNCHERS


def positive(text: str) -> int:
    """Read an argument that counts something.

    Raises:
        ArgumentTypeError: If it is not a whole number from 1 on.

    Example:
        >>> positive('3')
        3
    """
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number') from None
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {value}')
    return value


def duration(text: str) -> timedelta:
    """Read an argument that is a span of time.

    Raises:
        ArgumentTypeError: If it is none.

    Example:
        >>> str(duration('2w'))
        '14 days, 0:00:00'
    """
    try:
        return read_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_common_arguments(parser: argparse.ArgumentParser, needs_config: bool = True) -> None:
    """Add the arguments that training and testing share, named as everywhere in OpenMMLab.

    Args:
        parser: Parser to add them to.
        needs_config: Whether there is nothing to do without a config file.
    """
    parser.add_argument(
        'config', nargs=None if needs_config else '?', help='name or path of a config'
    )
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help='overrides, e.g. model.head.num_classes=100 train_cfg.max_epochs=60',
    )
    parser.add_argument(
        '--quiet',
        action='store_true',
        help='show warnings and the line of scores alone; the log file in the work dir has all',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config of a checkpoint's model, and where the model runs.

    Args:
        parser: Parser to add them to.
    """
    parser.add_argument('--config', help="config file; the checkpoint's own otherwise")
    add_device_argument(parser)


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add where the model runs.

    Args:
        parser: Parser to add it to.
    """
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')


def add_colormap_argument(parser: argparse.ArgumentParser) -> None:
    """Add the colors of maps.

    Args:
        parser: Parser to add it to.
    """
    parser.add_argument(
        '--colormap',
        default=DEFAULT_COLORMAP,
        help=f'colormap of matplotlib for maps (default: {DEFAULT_COLORMAP}, which is perceptually '
        'uniform)',
    )


def add_memory_limit(parser: argparse.ArgumentParser, default: int) -> None:
    """Add how much memory may be used on top of features that are loaded.

    Args:
        parser: Parser to add it to.
        default: Bytes.
    """
    parser.add_argument(
        '--memory-limit',
        type=positive,
        default=default,
        metavar='BYTES',
        help=f'bytes to use on top of the features (default: {default >> 30} GiB)',
    )


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of what runs an exported model.

    Args:
        parser: Parser to add them to.
    """
    parser.add_argument(
        '--runtime-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='of an exported model: type=onnxruntime, openvino or torch, and settings such as '
        'threads=2 hint=throughput (default: by the format, on all cores)',
    )
