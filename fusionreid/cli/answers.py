"""Which of the images that a search finds are answers: its options, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionreid.apis import Calibration, RateEstimate, load_calibration
from fusionreid.cli.labeled_features import read_extracted
from fusionreid.gallery import Gallery, Rescoring
from fusionreid.gallery.acceptance import choose_acceptance
from fusionreid.gallery.rescoring import DEFAULT_CANDIDATES


def add_answer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add limits of the distance, and how images are ordered again before."""
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        '--max-distance',
        type=float,
        metavar='D',
        help='find only images that are nearer; where there are none, the answer is nobody',
    )
    limits.add_argument(
        '--max-fpr',
        type=float,
        metavar='RATE',
        help='the same for a share of the pairs of strangers that may be as near, e.g. 0.001',
    )
    limits.add_argument(
        '--max-search-fpr',
        type=float,
        metavar='RATE',
        help='the same for a share of the searches for strangers that may find somebody, e.g. 0.05',
    )
    parser.add_argument(
        '--calibration',
        metavar='FILE',
        help="what distances mean (fusionreid calibrate); otherwise the index's own, or the one "
        'beside the checkpoint',
    )
    parser.add_argument(
        '--center-cameras',
        action='store_true',
        help="order the nearest again, without the mean feature of each camera's images",
    )
    parser.add_argument(
        '--cohort',
        metavar='FILE',
        help='order the nearest again by distances that are normalized by those to other people '
        '(of fusionreid extract)',
    )
    parser.add_argument(
        '--cohort-size',
        type=int,
        metavar='N',
        help='nearest images of the cohort that count (default: 200)',
    )
    parser.add_argument(
        '--candidates',
        type=int,
        default=DEFAULT_CANDIDATES,
        metavar='N',
        help=f'nearest images that are ordered again (default: {DEFAULT_CANDIDATES})',
    )


def check_answer_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together.

    Args:
        args: With the arguments of :func:`add_answer_arguments`.
        parser: Is told what does not go together.
    """
    if args.cohort_size is not None and args.cohort is None:
        parser.error('--cohort-size needs --cohort')


def search_options(args: argparse.Namespace, gallery: Gallery) -> dict[str, Any]:
    """Read what the arguments name.

    Args:
        args: With the arguments of :func:`add_answer_arguments`.
        gallery: Gets the calibration that is named.

    Returns:
        Arguments of :meth:`Gallery.search`.

    Raises:
        UserError: A file that cannot be read, or is of other features.
    """
    if args.calibration:
        gallery.calibration = load_calibration(args.calibration)
    rescoring = None
    if args.center_cameras or args.cohort:
        cohort = cameras = None
        if args.cohort:
            photos = read_extracted(Path(args.cohort), gallery.spec)
            cohort, cameras = photos.features, photos.camera_ids.tolist()
        rescoring = Rescoring(
            args.center_cameras, cohort, cameras, args.cohort_size, args.candidates
        )
    limits = dict(
        max_distance=args.max_distance, max_fpr=args.max_fpr, max_search_fpr=args.max_search_fpr
    )
    return dict(**limits, rescoring=rescoring)


def find_limit(gallery: Gallery, options: dict[str, Any]) -> float | None:
    """Tell from which distance on images are no answers.

    Args:
        gallery: What is searched.
        options: From :func:`search_options`.

    Returns:
        The distance, whatever the cameras; None without a limit.
    """
    limits = {name: value for name, value in options.items() if name != 'rescoring'}
    acceptance = choose_acceptance(gallery.calibration, len(gallery), **limits)
    return None if acceptance is None else acceptance.distance


def describe_limit(limit: float, gallery: Gallery, options: dict[str, Any]) -> str:
    """Say what a limit leads to.

    Args:
        limit: From :func:`find_limit`.
        gallery: What is searched.
        options: From :func:`search_options`.

    Returns:
        One line.
    """
    text = f'answers are nearer than {limit:.4f}'
    calibration = gallery.calibration
    if calibration is None or options['rescoring'] is not None:
        return text
    if options['max_fpr'] is not None and calibration.camera_pairs:
        text += ' (more or less where the rate of the two cameras is known)'
    return f'{text}: {describe_rates(calibration, limit, len(gallery))}'


def describe_rates(calibration: Calibration, distance: float, gallery_size: int) -> str:
    """Say how often strangers are nearer than a distance.

    Args:
        calibration: What distances mean.
        distance: The distance.
        gallery_size: Images that are searched.

    Returns:
        The rates of pairs and of searches, with their intervals.
    """
    return (
        f'so are {format_estimate(calibration.false_match_rate(distance))} of the pairs of '
        f'strangers, and {format_estimate(calibration.search_rate(distance, gallery_size))} of the '
        f'searches for a stranger in {gallery_size:,} images find somebody'
    )


def format_rate(rate: float) -> str:
    """Write a rate in percent.

    Example:
        >>> format_rate(0.00123), format_rate(1.0)
        ('0.12%', '100%')
    """
    percent = 100 * rate
    # Two digits, and no exponent for those that people read.
    return f'{percent:.0f}%' if percent >= 10 else f'{percent:.2g}%'


def format_estimate(estimate: RateEstimate) -> str:
    """Write a rate with its interval; where nothing was counted, the upper end alone.

    Example:
        >>> format_estimate(RateEstimate(0.001, 0.0003, 0.003))
        '0.1% (95%: 0.03% to 0.3%)'
        >>> format_estimate(RateEstimate(0.0001, 0.0, 0.0004))
        'at most 0.04% (95%)'
    """
    rate, low, high = (format_rate(value) for value in estimate)
    return f'{rate} (95%: {low} to {high})' if estimate.low > 0 else f'at most {high} (95%)'
