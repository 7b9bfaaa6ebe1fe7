"""What the commands share that take an index, or saved features and the model that they are of."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fusionreid.apis import FeatureExtractor
from fusionreid.errors import UserError
from fusionreid.utils.terminal import say

from .arguments import add_model_arguments
from .labeled_features import LabeledFeatures, read_saved

SOURCE_HELP = 'saved features (a folder or a .safetensors file), or an index'


def add_saved_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model of saved features, and how it made them.

    Args:
        parser: Parser to add them to.
    """
    parser.add_argument('checkpoint', nargs='?', help='model of the saved features')
    parser.add_argument(
        '--feature', default='all', help='feature of the model (default: all, side by side)'
    )
    parser.add_argument(
        '--mean-camera',
        action='store_true',
        help='the features were made with the mean camera embedding',
    )
    add_model_arguments(parser)


def refuse_arguments_of_saved(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuse what only saved features need, where the source is an index.

    Args:
        args: Arguments of the command.
        names: Those that an index has no use for.

    Raises:
        UserError: If one of them is given.
    """
    for name in names:
        if getattr(args, name) is not None:
            raise UserError(
                f'{args.source} is an index, which knows its model: leave out the {name}'
            )


def read_with_model(
    args: argparse.Namespace, made: str, projection: str | None = None
) -> tuple[LabeledFeatures, FeatureExtractor]:
    """Read saved features, and the model that they should be of.

    Args:
        args: Arguments of the command, with those of :func:`add_saved_model_arguments`.
        made: What the command makes of them.
        projection: File of what makes the features of the model narrower.

    Returns:
        The features, which are not compared yet, and the model.

    Raises:
        UserError: If no model is named, or either cannot be read.
    """
    if args.checkpoint is None and args.config is None:
        raise UserError(
            f'{args.source} is no index: of saved features, also name the checkpoint that they are '
            f'of, so that the {made} is used for its features alone'
        )
    photos = read_saved(Path(args.source), args.feature)
    extractor = FeatureExtractor(
        args.checkpoint,
        args.config,
        feature=args.feature,
        use_cameras=False if args.mean_camera else None,
        device=args.device,
        projection=projection,
    )
    return photos, extractor


def compare_with_model(photos: LabeledFeatures, extractor: FeatureExtractor) -> None:
    """See that saved features are the model's, and say if that cannot be seen.

    Args:
        photos: The features.
        extractor: The model.

    Raises:
        CalibrationError: If they are not.
    """
    if problem := photos.check_model(extractor):
        say(f'not compared with the features of the model: {problem}', sys.stderr)
