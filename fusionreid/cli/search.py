"""Find people in an index of images:
``fusionreid search INDEX QUERY_IMAGE -k 10 -o result.png``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery, GallerySearchResult
from fusionreid.gallery.image_folder import find_images, read_name
from fusionreid.utils.tables import format_table
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.search_results import QueryAnswers, draw_search_results

UNKNOWN = (-1, -1)
DEFAULT_K = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('index', help='folder made by fusionreid index')
    parser.add_argument('queries', nargs='+', metavar='query', help='images, or folders of images')
    parser.add_argument(
        '-k', type=int, help=f'answers a query (default: {DEFAULT_K}, or all if there are fewer)'
    )
    parser.add_argument('-o', '--out', help='picture to write, e.g. result.png')
    cameras = 'cameras, counted from 1 as in file names'
    parser.add_argument(
        '--camera', type=int, nargs='+', help=f'find only images of these {cameras}'
    )
    parser.add_argument(
        '--exclude-camera', type=int, nargs='+', help=f'find no image of these {cameras}'
    )
    parser.add_argument(
        '--other-cameras', action='store_true', help="find no image of the query's own camera"
    )
    parser.add_argument(
        '--query-camera', type=int, help='camera of the queries, if their names do not tell it'
    )
    parser.add_argument(
        '--mean-camera',
        action='store_true',
        help='take the mean camera embedding for the queries: for cameras that the model was not '
        'trained with',
    )
    parser.add_argument('--checkpoint', help='the trained model, if it is not where it was')
    parser.add_argument('--config', help="config file; the index's own otherwise")
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')


def find_queries(names: list[str]) -> list[str]:
    """Absolute paths of the query images."""
    paths: list[str] = []
    for name in names:
        paths += find_images(name) if Path(name).is_dir() else [os.path.abspath(name)]
    return paths


def run(args: argparse.Namespace) -> None:
    """Answer every query, and draw the answers where that is asked for."""
    gallery, answers = search(args)
    print_answers(answers)
    if args.out:
        draw(args, gallery, answers)


def search(args: argparse.Namespace) -> tuple[Gallery, list[QueryAnswers]]:
    """Answer every query."""
    gallery = Gallery.load(args.index, device=args.device)
    k = min(DEFAULT_K, len(gallery)) if args.k is None else args.k
    given = [*(args.camera or []), *(args.exclude_camera or []), args.query_camera]
    for camera in given:
        if camera is not None and camera < 1:
            raise GalleryError(f'cameras are counted from 1, got {camera}')
    if not 1 <= k <= len(gallery):
        raise GalleryError(f'-k {k} is outside 1..{len(gallery)}, the size of the index')
    paths = find_queries(args.queries)
    labels = [read_name(path) or UNKNOWN for path in paths]
    if args.query_camera is not None:
        labels = [
            (person, args.query_camera - 1 if camera < 0 else camera) for person, camera in labels
        ]
    if args.other_cameras and any(camera < 0 for _, camera in labels):
        raise GalleryError(
            '--other-cameras: the camera of a query is unknown, give it by --query-camera'
        )
    gallery.use_model(args.checkpoint, args.config)
    known = gallery.extractor.known_cameras
    cameras = [UNKNOWN[1] if args.mean_camera else camera for _, camera in labels]
    for path, camera in zip(paths, cameras, strict=True):
        if known and camera >= known:
            raise GalleryError(
                f'query {short(path)} is of camera {camera + 1}, the model was trained with '
                f'cameras 1 to {known}: take the mean of them for the queries (--mean-camera)'
            )
    features = gallery.extractor.extract(paths, cameras)
    answers = []
    for path, (person, camera), feature in zip(paths, labels, features, strict=True):
        excluded = [number - 1 for number in args.exclude_camera or []]
        if args.other_cameras:
            excluded.append(camera)
        found = gallery.search(
            feature,
            k,
            cameras=None if args.camera is None else [number - 1 for number in args.camera],
            exclude_cameras=excluded or None,
            exclude_ids=[path],  # to find the query itself would say nothing
        )
        answers.append(as_answers(path, person, camera, found))
    return gallery, answers


def as_answers(path: str, person: int, camera: int, found: GallerySearchResult) -> QueryAnswers:
    """What was found for the only query of a result."""
    count = int(found.counts[0])
    columns = (found.paths, found.person_ids, found.camera_ids, found.distances)
    return QueryAnswers(path, person, camera, *(column[0, :count].tolist() for column in columns))


def shown(number: int, first: int) -> str:
    """A 0-based number counted from ``first``, ``?`` if it is unknown."""
    return '?' if number < 0 else str(number + first)


def short(path: str | Path) -> str:
    """A path as it is written from the current folder, if it lies in it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def print_answers(answers: list[QueryAnswers]) -> None:
    for query in answers:
        print(
            f'query {short(query.path)}: camera {shown(query.camera_id, 1)}, '
            f'identity {shown(query.person_id, 0)}'
        )
        if not query.paths:
            print('no image passes the filters')
            continue
        rows = [('rank', 'distance', 'camera', 'identity', 'image')]
        columns = zip(query.distances, query.camera_ids, query.person_ids, query.paths, strict=True)
        for rank, (distance, camera, person, path) in enumerate(columns, 1):
            rows.append(
                (f'{rank}', f'{distance:.4f}', shown(camera, 1), shown(person, 0), short(path))
            )
        print(format_table(rows))


def draw(args: argparse.Namespace, gallery: Gallery, answers: list[QueryAnswers]) -> None:
    spec = gallery.spec
    picture = draw_search_results(
        answers,
        title=f'The nearest of {len(gallery):,} images',
        subtitle=f'{spec.feature} features of {spec.weights}, {spec.protocol}, '
        f'Euclidean distance, engine {gallery.engine.name}',
    )
    save_picture(picture, args.out)
    print(f'picture: {args.out}')
