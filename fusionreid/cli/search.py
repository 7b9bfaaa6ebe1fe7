"""Find people in an index of images.

fusionreid search INDEX QUERY_IMAGE -k 10 -o result.png
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusionreid.apis import RateEstimate
from fusionreid.cli.answers import (
    add_answer_arguments,
    check_answer_arguments,
    describe_limit,
    find_limit,
    format_estimate,
    search_options,
)
from fusionreid.cli.arguments import duration
from fusionreid.cli.extraction import add_index_arguments
from fusionreid.cli.indexing import add_label_arguments, read_sources
from fusionreid.cli.output_file import check_output_file
from fusionreid.cli.search_filters import (
    add_filter_arguments,
    camera_label,
    check_columns,
    check_filter_arguments,
    filter_options,
)
from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery, GalleryFilter, GallerySearchResult
from fusionreid.gallery.labelled_images import LabelledImages
from fusionreid.gallery.names import Label, number_labels
from fusionreid.gallery.rescoring import DEFAULT_CANDIDATES
from fusionreid.gallery.times import order_by_age
from fusionreid.utils.files import open_atomic
from fusionreid.utils.integers import UNKNOWN
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say
from fusionreid.video.passage_folder import Passage, find_passages
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.search_results import QueryAnswers, draw_search_results
from fusionreid.visualization.style import camera_name

DEFAULT_K = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_index_arguments(parser)
    parser.add_argument(
        'queries', nargs='+', metavar='query', help='images, folders of images, or tables (.csv)'
    )
    add_label_arguments(parser)
    parser.add_argument(
        '-k', type=int, help=f'answers a query (default: {DEFAULT_K}, or all if there are fewer)'
    )
    parser.add_argument('-o', '--out', help='picture to write, e.g. result.png')
    parser.add_argument('--json', metavar='FILE', help='file for the answers, as JSON')
    add_answer_arguments(parser)
    add_filter_arguments(parser)
    parser.add_argument(
        '--other-cameras', action='store_true', help="find no image of the query's own camera"
    )
    parser.add_argument(
        '--query-camera',
        type=camera_label,
        help='camera of the queries, if nothing else tells it',
    )
    parser.add_argument(
        '--half-life',
        type=duration,
        metavar='AGE',
        help=f'halve the similarity of an image with each such span since it was seen, e.g. 7d, '
        f'and order the {DEFAULT_CANDIDATES} nearest by that',
    )
    parser.add_argument(
        '--mean-camera',
        action='store_true',
        help='take the mean camera embedding for the queries: for cameras that the model was not '
        'trained with',
    )
    parser.add_argument(
        '--no-verify',
        action='store_true',
        help='take the index as it is, without comparing it with its checksums',
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    check_answer_arguments(args, parser)
    check_filter_arguments(args, parser)


def run(args: argparse.Namespace) -> None:
    """Answer every query, and draw the answers where that is asked for."""
    gallery = Gallery.load(args.index, device=args.device, verify=not args.no_verify)
    if args.json:
        check_output_file(Path(args.json))
    queries = _read_queries(args, gallery)
    paths, cameras = queries.paths, queries.cameras
    if args.other_cameras and UNKNOWN in cameras:
        raise GalleryError(
            '--other-cameras: the camera of a query is unknown, give it by --query-camera'
        )
    gallery.use_model(args.checkpoint, args.config, projection=args.projection)
    options = search_options(args, gallery)
    allowed = filter_options(args, gallery)
    limit = find_limit(gallery, options)
    indexed = gallery.known(paths)
    k = min(DEFAULT_K, len(gallery)) if args.k is None else args.k
    width = k
    if args.half_life is not None and k > 0:
        width = max(k, min(len(gallery), DEFAULT_CANDIDATES))
    found = gallery.search(
        paths,
        width,
        query_camera_ids=None if args.mean_camera else cameras,
        filters=[
            GalleryFilter(
                exclude_cameras=[camera] if args.other_cameras else None,
                # To find the query itself would say nothing.
                exclude_ids=[path] if path in indexed else None,
            )
            # As numbers, since the own camera may be one of which nothing is in the index.
            for path, camera in zip(paths, number_labels(cameras, 'cameras')[0], strict=True)
        ],
        **allowed,
        **options,
    )
    if not found.counts.any():
        check_columns(args, gallery)
    if args.half_life is not None:
        found = order_by_age(found, args.half_life, k)
    passages = find_passages(path for paths in found.paths for path in paths)
    answers = _as_answers(queries, found, limit, passages)
    if limit is not None:
        say(describe_limit(limit, gallery, options))
    _print_answers(answers)
    if args.json:
        _write_json(answers, args.json, passages)
    if args.out:
        _draw(gallery, answers, args.out)


def _read_queries(args: argparse.Namespace, gallery: Gallery) -> LabelledImages:
    """Read the queries, each once, and their labels; what the index says of an image goes first."""
    parts = read_sources(args, args.queries)
    labels: dict[str, tuple[Label, Label]] = {}
    for part in parts:
        for path, *own in zip(part.paths, part.people, part.cameras, strict=True):
            labels.setdefault(path, (own[0], own[1]))
    indexed = gallery.find(labels)
    for path, person, camera in zip(
        indexed.ids, indexed.person_ids, indexed.camera_ids, strict=True
    ):
        read = labels[path]
        labels[path] = (
            read[0] if person < 0 else gallery.person_names.get(person, person),
            read[1] if camera < 0 else gallery.camera_names.get(camera, camera),
        )
    other = UNKNOWN if args.query_camera is None else args.query_camera
    people = [person for person, _ in labels.values()]
    cameras = [other if camera == UNKNOWN else camera for _, camera in labels.values()]
    return LabelledImages(list(labels), people, cameras, from_names=False)


def _as_answers(
    queries: LabelledImages,
    found: GallerySearchResult,
    limit: float | None,
    passages: Mapping[str, Passage],
) -> list[QueryAnswers]:
    """Pair each query with what was found for it."""
    people = np.where(found.person_names == '', found.person_ids, found.person_names)
    cameras = np.where(found.camera_names == '', found.camera_ids, found.camera_names)
    answers = []
    for row, (path, person, camera, count) in enumerate(
        zip(queries.paths, queries.people, queries.cameras, found.counts, strict=True)
    ):
        columns = (found.paths, people, cameras, found.distances)
        images, identities, places, distances = (column[row, :count].tolist() for column in columns)
        seen = [passages.get(image) for image in images] if passages else []
        answers.append(
            QueryAnswers(
                path,
                person,
                camera,
                images,
                identities,
                places,
                distances,
                rates=found.rates_of(row),
                nearest=float(found.nearest[row]),
                limit=limit,
                moments=[str(passage or '') for passage in seen],
                strips=[passage.strip if passage else '' for passage in seen],
            )
        )
    return answers


def _person_name(person: Label) -> str:
    """An identity, ``?`` if it is unknown."""
    return '?' if person == UNKNOWN else str(person)


def _short(path: str | Path) -> str:
    """A path as it is written from the current folder, if it lies in it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _print_answers(answers: Sequence[QueryAnswers]) -> None:
    """Print a table for each query."""
    for query in answers:
        say(
            f'query {_short(query.path)}: camera {camera_name(query.camera_id)}, '
            f'identity {_person_name(query.person_id)}'
        )
        if not query.paths:
            say(f'nobody: {query.why_nobody}' if query.is_nobody else 'no image passes the filters')
            continue
        rows: list[tuple[str, ...]] = [('rank', 'distance', 'camera', 'identity', 'image')]
        columns = zip(query.distances, query.camera_ids, query.person_ids, query.paths, strict=True)
        for rank, (distance, camera, person, path) in enumerate(columns, 1):
            rows.append(
                (
                    f'{rank}',
                    f'{distance:.4f}',
                    camera_name(camera),
                    _person_name(person),
                    _short(path),
                )
            )
        if query.rates:
            rates = (RateEstimate(*rates) for rates in query.rates)
            cells = ['strangers as near', *map(format_estimate, rates)]
            rows = [(*row[:2], cell, *row[2:]) for row, cell in zip(rows, cells, strict=True)]
        if any(query.moments):
            moments = ['time', *query.moments]
            rows = [(*row[:-2], cell, *row[-2:]) for row, cell in zip(rows, moments, strict=True)]
        print(format_table(rows))


def _write_json(answers: Sequence[QueryAnswers], out: str, passages: Mapping[str, Passage]) -> None:
    """Write the answers; numbers of cameras count from 1, and null is unknown."""

    def describe(camera: Label, person: Label) -> dict[str, Label | None]:
        number = camera + 1 if isinstance(camera, int) else camera
        return dict(
            camera=None if camera == UNKNOWN else number,
            identity=None if person == UNKNOWN else person,
        )

    content = []
    for query in answers:
        columns = (query.paths, query.distances, query.camera_ids, query.person_ids)
        found: list[dict[str, Any]] = [
            dict(rank=rank, path=str(path), distance=distance, **describe(camera, person))
            for rank, (path, distance, camera, person) in enumerate(zip(*columns, strict=True), 1)
        ]
        for answer in found:
            if (passage := passages.get(answer['path'])) is not None:
                answer.update(first_second=passage.first, last_second=passage.last)
        for answer, (rate, low, high) in zip(found, query.rates, strict=False):
            answer.update(false_match_rate=rate, false_match_rate_95=[low, high])
        content.append(
            dict(
                path=str(query.path),
                **describe(query.camera_id, query.person_id),
                nobody=query.is_nobody,
                nearest=_finite(query.nearest),
                nearer_than=_finite(query.limit),
                answers=found,
            )
        )
    with open_atomic(out) as file:
        file.write(json.dumps(dict(queries=content), indent=2, allow_nan=False).encode() + b'\n')
    say(f'answers: {out}')


def _finite(value: float | None) -> float | None:
    """The value, None where JSON cannot hold it."""
    return None if value is None or math.isinf(value) else value


def _draw(gallery: Gallery, answers: Sequence[QueryAnswers], out: str) -> None:
    """Draw queries and answers, and save the picture as ``out``."""
    spec = gallery.extractor.spec
    has_rates = any(query.rates for query in answers)
    picture = draw_search_results(
        answers,
        title=f'The nearest of {len(gallery):,} images',
        subtitle=f'{spec.feature} features of {spec.weights}, {spec.protocol}, '
        f'Euclidean distance, engine {gallery.engine.name}'
        + ('; percent: pairs of strangers as near' if has_rates else ''),
    )
    save_picture(picture, out)
    say(f'picture: {out}')
