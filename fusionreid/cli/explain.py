"""Draw which pixels matter for a model, and what its tokens attend to.

    fusionreid explain CONFIG CHECKPOINT IMAGES... -o DIR

CONFIG is a config file or the name of one; - takes the config in the checkpoint. IMAGES are files
or folders. PNG files are written into DIR: relevance.png (cam) has a row for each photo and a
column for each feature; attention_*.png shows a photo through the class token of the transformer
and the units of the fusion; pairs.png (pair) shows what makes the first photo and each other one
alike. Maps that the model cannot give are named, and the others are drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from fusionreid.apis import FeatureExtractor
from fusionreid.apis.photos import Photos, load_photos, photo_distances
from fusionreid.errors import ExplainError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.explain import all_attention, class_relevance, pair_relevance
from fusionreid.explain.relevance import (
    INTEGRATED_GRADIENTS,
    METHOD_NAMES,
    METHODS,
    describe_class_relevance,
)
from fusionreid.explain.similarity import check_feature
from fusionreid.gallery.image_folder import read_name
from fusionreid.utils.batched import batched
from fusionreid.utils.terminal import say
from fusionreid.visualization import (
    PhotoPair,
    draw_attention_sheet,
    draw_pair_sheet,
    draw_relevance_sheet,
)
from fusionreid.visualization.color_scale import find_colormap
from fusionreid.visualization.saving import save_picture

from .arguments import add_colormap_argument, add_device_argument
from .extraction import find_images
from .output_file import check_output_file

CHECKPOINTS_OWN = '-'
CAM, ATTENTION, PAIR = 'cam', 'attention', 'pair'
# Photos of a sheet; further ones go into the next.
SHEET = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help="name or path of a config; - for the checkpoint's own")
    parser.add_argument('checkpoint', help='trained model')
    parser.add_argument('images', nargs='+', help='photos, or folders of photos')
    parser.add_argument('-o', '--out', required=True, metavar='DIR', help='folder of the pictures')
    parser.add_argument(
        '--what',
        choices=[CAM, ATTENTION, PAIR, 'all'],
        default='all',
        help='relevance of each photo, attention, or what makes photos alike (default: all)',
    )
    parser.add_argument(
        '--features',
        nargs='+',
        metavar='NAME',
        help='features whose relevance is drawn; all side by side for pairs (default: each)',
    )
    parser.add_argument(
        '--method',
        choices=METHODS,
        default=INTEGRATED_GRADIENTS,
        help=f'how relevance is computed (default: {INTEGRATED_GRADIENTS})',
    )
    parser.add_argument(
        '--baseline',
        nargs='+',
        default=[],
        metavar='CHECKPOINT',
        help='models of a single branch each, which bring their configs: columns of cam',
    )
    parser.add_argument(
        '--heads', action='store_true', help='draw each head of attention, not their average'
    )
    add_colormap_argument(parser)
    parser.add_argument(
        '--mean-camera',
        action='store_true',
        help='take the mean camera embedding for every photo, whatever camera its name tells',
    )
    add_device_argument(parser)


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    if args.config == CHECKPOINTS_OWN:
        args.config = None
    if args.baseline and args.what not in (CAM, 'all'):
        parser.error(f'--baseline is for --what {CAM}')
    if args.heads and args.what not in (ATTENTION, 'all'):
        parser.error(f'--heads is for --what {ATTENTION}')
    if args.features and args.what == ATTENTION:
        parser.error(f'--features is for --what {CAM} and {PAIR}: attention belongs to no feature')


class Explanation:
    """Models and photos of one call of the command.

    Args:
        args: Arguments of the command line.

    Raises:
        UserError: If a model, a photo or an argument is not what is described.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.colormap = find_colormap(args.colormap).name
        self.paths = [path for given in args.images for path in _list_photos(given)]
        if args.what == PAIR and len(self.paths) < 2:
            raise ExplainError(
                f'a pair needs two photos, got {len(self.paths)}: name the photos to compare'
            )
        check_output_file(Path(args.out) / 'relevance.png')
        self.extractor = self._load(args.checkpoint, args.config)
        self.model = self.extractor.torch_model
        for name in args.features or ():
            check_feature(self.model, name)
        self.baselines = [self._load(path, None) for path in args.baseline]
        file = Path(args.checkpoint)
        self.source = f'{file.resolve().parent.name}/{file.name}'

    def draw_relevance(self) -> Iterator[tuple[str, Figure]]:
        """Draw relevance for the classifier's score, a sheet for each few photos.

        Yields:
            Name of the file, and the figure.

        Raises:
            ExplainError: If the model has no classifier, or no gradient.
        """
        features = self.args.features
        if features and ALL in features and set(features) != {ALL}:
            say(f'no {CAM} of {ALL!r}, which no classifier scores', sys.stderr)
            features = [name for name in features if name != ALL]
        for file, paths in _sheets('relevance', self.paths, SHEET):
            photos = self._prepare(paths)
            maps: dict[str, list[np.ndarray]] = {}
            for baseline in self.baselines:
                own = load_photos(baseline, photos.names, self._cameras(photos.names))
                for name, found in self._relevance(baseline, own, None).items():
                    maps[self._baseline_title(baseline, name)] = found
            maps |= self._relevance(self.extractor, photos, features)
            figure = draw_relevance_sheet(
                photos.pixels,
                [Path(path).name for path in photos.names],
                maps,
                'Which pixels speak for an identity',
                f'{self.source}; {describe_class_relevance(self.args.method)}',
                self.colormap,
            )
            yield file, figure

    def draw_attention(self) -> Iterator[tuple[str, Figure]]:
        """Draw attention, a sheet for each photo.

        Yields:
            Name of the file, and the figure.

        Raises:
            ExplainError: If there is no attention that could be shown.
        """
        names = _unique_stems(self.paths)
        for number, paths in enumerate(batched(self.paths, SHEET)):
            photos = self._prepare(paths)
            found, refused = all_attention(self.model, photos.images, photos.camera_ids)
            if number == 0:
                for reason in refused:
                    say(reason, sys.stderr)
            for place, path in enumerate(photos.names):
                shown = 'each head' if self.args.heads else 'the heads averaged'
                figure = draw_attention_sheet(
                    photos.pixels[place],
                    found,
                    'What the tokens attend to',
                    f'{Path(path).name}; {self.source}; {shown}; own: what is on no patch',
                    image=place,
                    heads=self.args.heads,
                    colormap=self.colormap,
                )
                yield f'attention_{names.pop(0)}.png', figure

    def draw_pairs(self) -> Iterator[tuple[str, Figure]]:
        """Draw what makes the first photo and each other one alike.

        Yields:
            Name of the file, and the figure.

        Raises:
            ExplainError: If there is one photo only, or the model has no gradient.
        """
        if len(self.paths) < 2:
            raise ExplainError('there is one photo only, so there is no pair to draw')
        every = list(self.model.feature_widths)
        features = self.args.features or ([*every, ALL] if len(every) > 1 else every)
        for file, paths in _sheets('pairs', self.paths[1:], SHEET // 2):
            others = self._prepare(paths)
            first = self._prepare([self.paths[0]] * len(paths))
            maps = pair_relevance(
                self.model,
                first.images,
                others.images,
                features,
                self.args.method,
                first.camera_ids,
                others.camera_ids,
            )
            distances = photo_distances(self.extractor, first, others, features)
            pairs = [
                PhotoPair(
                    (first.pixels[row], others.pixels[row]),
                    (Path(first.names[row]).name, Path(others.names[row]).name),
                    {
                        name: (_array(left[row]), _array(right[row]))
                        for name, (left, right) in maps.items()
                    },
                    {name: values[row] for name, values in distances.items()},
                )
                for row in range(len(paths))
            ]
            figure = draw_pair_sheet(
                pairs,
                'Which pixels make two photos alike',
                f'{self.source}; {METHOD_NAMES[self.args.method]} of the cosine of the centered '
                'features; distance: of the normalized features, from 0 to 2',
                self.colormap,
            )
            yield file, figure

    def _load(self, checkpoint: str, config: str | None) -> FeatureExtractor:
        return FeatureExtractor(
            checkpoint,
            config,
            use_cameras=False if self.args.mean_camera else None,
            device=self.args.device,
            fold=False,
        )

    def _cameras(self, paths: list[str]) -> list[int]:
        return [-1 if self.args.mean_camera else read_name(path)[1] for path in paths]

    def _prepare(self, paths: list[str]) -> Photos:
        return load_photos(self.extractor, paths, self._cameras(paths))

    def _relevance(
        self, extractor: FeatureExtractor, photos: Photos, features: list[str] | None
    ) -> dict[str, list[np.ndarray]]:
        found = class_relevance(
            extractor.torch_model,
            photos.images,
            None,
            features,
            self.args.method,
            photos.camera_ids,
        )
        return {name: [_array(map_) for map_ in maps] for name, maps in found.items()}

    def _baseline_title(self, baseline: FeatureExtractor, feature: str) -> str:
        """Title of a column, different for each model and feature."""
        title = f'{feature}_alone'
        same = [other for other in self.baselines if feature in other.model.feature_widths]
        if len(same) == 1:
            return title
        return f'{title}_{1 + same.index(baseline)}'


def run(args: argparse.Namespace) -> None:
    """Draw what is asked for; say what cannot be."""
    explanation = Explanation(args)
    drawings = {
        CAM: explanation.draw_relevance,
        ATTENTION: explanation.draw_attention,
        PAIR: explanation.draw_pairs,
    }
    if args.what != 'all':
        drawings = {args.what: drawings[args.what]}
    refused: list[str] = []
    for what, draw in drawings.items():
        try:
            for name, figure in draw():
                save_picture(figure, Path(args.out) / name)
                say(f'{Path(args.out) / name}')
        except ExplainError as error:
            refused.append(f'no {what}: {error}')
            if len(drawings) > len(refused):
                say(refused[-1], sys.stderr)
    if len(refused) == len(drawings):
        raise ExplainError(refused[-1])


def _list_photos(given: str) -> list[str]:
    return find_images(given) if Path(given).is_dir() else [given]


def _sheets(name: str, paths: list[str], size: int) -> Iterator[tuple[str, list[str]]]:
    """Share photos out among sheets; yields the file of each sheet, and its photos."""
    for number, part in enumerate(batched(paths, size), 1):
        yield f'{name}.png' if len(paths) <= size else f'{name}_{number}.png', part


def _unique_stems(paths: list[str]) -> list[str]:
    """Stems of files, with a number where another photo has the same."""
    stems = [Path(path).stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f'{stem}_{stems[: place + 1].count(stem)}'
        for place, stem in enumerate(stems)
    ]


def _array(map_: Tensor) -> np.ndarray:
    return map_.cpu().numpy()
