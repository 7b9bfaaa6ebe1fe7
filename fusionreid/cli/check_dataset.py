"""Check every image and label of a config's data sets, or of a folder.

    fusionreid check-dataset CONFIG
    fusionreid check-dataset data/market1501 --out problems.csv

Decodes every image once. The exit status is 1 if there are errors: images that cannot be decoded,
images or people in both training and test, and the like. Everything else is for information.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from joblib import cpu_count
from mmengine.config import Config
from mmengine.registry import DefaultScope

from fusionreid.config import build_errors, merge_options, read_config
from fusionreid.datasets import DukeMTMCReID, Market1501, OccludedDuke, ReIDDataset
from fusionreid.datasets.annotation import ROLES
from fusionreid.datasets.base_reid_dataset import SPLITS
from fusionreid.datasets.checks import (
    ERRORS,
    NOTES,
    CheckedSource,
    Finding,
    ImageFacts,
    check_labels,
    find_repeated,
    inspect_images,
    read_dataset,
    read_folder,
)
from fusionreid.datasets.checks.layouts import recognize_layout
from fusionreid.datasets.image_listing import why_not_regular
from fusionreid.datasets.market_style_dataset import FOLDERS
from fusionreid.datasets.people_table import COLUMNS
from fusionreid.errors import ConfigError, DatasetError, UserError
from fusionreid.registry import DATASETS, SCOPE
from fusionreid.utils.csv_table import write_csv
from fusionreid.utils.files import open_atomic
from fusionreid.utils.progress import Progress
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say

from .arguments import positive
from .option_actions import OptionAction
from .output_file import check_output_file
from .runner_config import LOADERS

FIRST = 5
SUFFIXES = ('.csv', '.json')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'target',
        metavar='CONFIG|DIR',
        help='config; folder of Market-1501, MSMT17 or another public data set, or laid out so; '
        'a CSV table; or any folder of images',
    )
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, help='overrides')
    parser.add_argument(
        '--workers',
        type=int,
        default=cpu_count(),
        help='processes that decode (default: one per core; 0: this process)',
    )
    parser.add_argument(
        '--first', type=positive, default=FIRST, help=f'shown of each kind (default: {FIRST})'
    )
    parser.add_argument(
        '--out', metavar='FILE', help='file for all findings, which ends in .csv or .json'
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what cannot be."""
    if args.workers < 0:
        parser.error(f'--workers must be 0 or more, got {args.workers}')
    if args.out and Path(args.out).suffix not in SUFFIXES:
        parser.error(f'--out must end in .csv or .json, got {args.out}')


def run(args: argparse.Namespace) -> int:
    """Check, print what is found, and write it where that is asked for."""
    is_data = os.path.isdir(args.target) or args.target.endswith('.csv')
    if is_data and (args.cfg_options or args.data_root):
        raise ConfigError(f'--cfg-options and --data-root are for configs, {args.target} is none')
    if args.out:
        # Before the work, not after it.
        check_output_file(Path(args.out))
    with DefaultScope.overwrite_default_scope(SCOPE), build_errors():
        if is_data:
            sources = [_read_data(args.target)]
        else:
            cfg = read_config(args.target)
            merge_options(cfg, args.cfg_options or {})
            sources = read_sources(cfg, args.data_root)
    findings = check_sources(sources, args.workers)
    errors = show(sources, findings, args.first)
    if args.out:
        _write(args.out, findings)
        say(f'{args.out}: {len(findings)} findings')
    return 1 if errors else 0


def check_config(cfg: Config, data_root: str | None, workers: int) -> None:
    """Check the data sets of a config, as the command does, and print what is found.

    Args:
        cfg: The config.
        data_root: Folder of the data sets; None takes the config's.
        workers: Processes that decode.

    Raises:
        DatasetError: If there are errors.
    """
    with DefaultScope.overwrite_default_scope(SCOPE), build_errors():
        sources = read_sources(cfg, data_root)
    errors = show(sources, check_sources(sources, workers), FIRST)
    if errors:
        raise DatasetError(
            f'the check has found {errors} errors, listed above: mend them, or train without '
            '--check'
        )


def read_sources(cfg: Config, data_root: str | None = None) -> list[CheckedSource]:
    """Read the data sets of a config, each once.

    Args:
        cfg: The config.
        data_root: Folder of the data sets of the loaders; None takes the config's.

    Returns:
        The images of the splits that the config uses.

    Raises:
        ConfigError: If the config has no data set.
    """
    settings: dict[tuple[str, ...], dict[str, Any]] = {}
    roles: dict[tuple[str, ...], set[str]] = {}
    for each in _settings(cfg, data_root):
        # Cameras and names may be given for one split and not for another.
        key = tuple(str(each.get(name)) for name in ('type', 'data_root', 'ann_file', 'release'))
        settings.setdefault(key, each)
        roles.setdefault(key, set()).update(SPLITS.get(str(each.get('split', 'train')), ()))
    if not settings:
        raise ConfigError(f'{cfg.filename} has no data set to check')
    sources = []
    for key, each in settings.items():
        kept = {name: value for name, value in each.items() if name not in _OF_TRAINING}
        dataset = DATASETS.build(dict(kept, pipeline=[], lazy_init=True))
        if not isinstance(dataset, ReIDDataset):
            raise ConfigError(f'{each.get("type")} is no data set of this project: not checked')
        sources.append(read_dataset(dataset, [role for role in ROLES if role in roles[key]]))
    return sources


_OF_TRAINING = ('pipeline', 'indices', 'serialize_data', 'cache_images', 'cache_limit_gib')


def _settings(cfg: Config, data_root: str | None) -> Iterator[dict[str, Any]]:
    """Configs of all data sets of a config, those of training first."""
    for name in LOADERS:
        loader = cfg.get(name)
        for settings in _unwrap(loader.get('dataset') if isinstance(loader, Mapping) else None):
            yield settings if data_root is None else dict(settings, data_root=data_root)
    test = cfg.get('test_cfg')
    for settings in (test.get('datasets') if isinstance(test, Mapping) else None) or ():
        yield dict(settings, split='test')


def _unwrap(settings: Any) -> Iterator[dict[str, Any]]:
    """Configs of data sets inside those that join or repeat others."""
    if not isinstance(settings, Mapping):
        return
    inner = settings.get('datasets') or [settings.get('dataset')]
    if any(isinstance(each, Mapping) for each in inner):
        for each in inner:
            yield from _unwrap(each)
    else:
        yield dict(settings)


def _read_data(path: str) -> CheckedSource:
    """Read a data set by what its folder holds."""
    if path.endswith('.csv'):
        if problem := why_not_regular(path):
            raise ConfigError(f'{path} is no table of images: {problem}')
        folder, table = os.path.split(path)
        settings = dict(type='CsvDataset', data_root=folder or '.', ann_file=table)
    else:
        settings = _recognize(path)
        if not settings:
            return read_folder(path)
    dataset = DATASETS.build(dict(settings, pipeline=[], lazy_init=True))
    source = read_dataset(dataset)
    say(f'{path}: read as {settings["type"]}')
    return source


def _recognize(folder: str) -> dict[str, Any]:
    """Settings of the data set that a folder is laid out as; empty for none."""
    if settings := recognize_layout(folder):
        return settings
    name = os.path.basename(os.path.abspath(folder))
    if any(os.path.isdir(os.path.join(folder, each)) for each in FOLDERS.values()):
        kinds = (Market1501, DukeMTMCReID, OccludedDuke)
        known = (kind for kind in kinds if name in kind.FOLDER_NAMES)
        kind = next((each.__name__ for each in known), 'MarketStyleDataset')
        return dict(type=kind, data_root=folder)
    tables = [each for each in sorted(Path(folder).glob('*.csv')) if _is_table(each)]
    if len(tables) > 1:
        names = ', '.join(each.name for each in tables)
        raise ConfigError(f'{folder} holds several tables of images, {names}: name one of them')
    if tables:
        return dict(type='CsvDataset', data_root=folder, ann_file=tables[0].name)
    return {}


def _is_table(path: Path) -> bool:
    """Whether the first line of a file names the columns of a CsvDataset."""
    if not path.is_file():
        return False
    with path.open('rb') as file:
        header = file.readline(1000).decode('utf-8-sig', 'replace')
    return all(column in header for column in COLUMNS)


def check_sources(sources: list[CheckedSource], workers: int) -> list[Finding]:
    """Look at every image once, and compare images and labels.

    Args:
        sources: The images of all data sets.
        workers: Processes that decode; 0 for none but this one.

    Returns:
        All findings, errors first, in the order of ``ERRORS`` and ``NOTES``.
    """
    paths = list(dict.fromkeys(image.path for source in sources for image in source.images))
    facts: dict[str, ImageFacts] = {}
    meter = Progress('decoding images', len(paths))
    for position, known in inspect_images(paths, min(workers, len(paths))):
        facts[paths[position]] = known
        meter.update(len(facts))
    for source in sources:
        for image in source.images:
            for kind, detail in facts[image.path].findings:
                source.note(kind, image, detail)
        check_labels(source)
    find_repeated(sources, facts)
    order = {kind: place for place, kind in enumerate((*ERRORS, *NOTES))}
    found = dict.fromkeys(finding for source in sources for finding in source.findings)
    return sorted(found, key=lambda each: (order[each.kind], each.dataset, each.path))


def show(sources: list[CheckedSource], findings: list[Finding], first: int) -> int:
    """Print what the data sets hold, how often each kind was found, and the first of each kind.

    Args:
        sources: The data sets.
        findings: What was found, in the order in which it is shown.
        first: How many of each kind are shown.

    Returns:
        The number of errors.
    """
    print(format_table(_summary(sources)))
    counts = Counter(finding.kind for finding in findings)
    if counts:
        rows = [['finding', 'count', '']]
        rows += [
            [kind, str(count), 'error' if kind in ERRORS else 'note']
            for kind, count in counts.items()
        ]
        print(f'\n{format_table(rows)}')
    shown: Counter[str] = Counter()
    for finding in findings:
        if not shown[finding.kind]:
            print()
            say(f'{"error" if finding.is_error else "note"}: {finding.kind}')
        shown[finding.kind] += 1
        if shown[finding.kind] <= first:
            say(f'  {_line(finding)}')
        elif shown[finding.kind] == first + 1:
            say(f'  ... and {counts[finding.kind] - first} more')
    images = len({image.path for source in sources for image in source.images})
    errors = sum(finding.is_error for finding in findings)
    print()
    say(f'{images} images: {errors} errors, {len(findings) - errors} notes')
    return errors


def _summary(sources: list[CheckedSource]) -> list[list[str]]:
    rows = [['data set', 'folder', 'split', 'identities', 'images', 'cameras']]
    for source in sources:
        for role in dict.fromkeys(image.role for image in source.images):
            images = [image for image in source.images if image.role == role]
            people = {image.person_id for image in images} - {None} - source.distractors
            cameras = {image.camera_id for image in images} - {-1}
            numbers = [str(len(each)) for each in (people, images, cameras)]
            rows.append([source.name, source.root, role or '-', *numbers])
        if not source.images:
            rows.append([source.name, source.root, '-', '0', '0', '0'])
    return rows


def _line(finding: Finding) -> str:
    """Say one finding in one line."""
    labels = ', '.join(
        filter(None, [finding.role, f'person {finding.person}' if finding.person else ''])
    )
    parts = [finding.path + (f' ({labels})' if labels and finding.path else labels)]
    parts += [finding.detail, finding.other_path]
    return ': '.join(filter(None, parts))


def _write(out: str, findings: list[Finding]) -> None:
    """Write all findings as a CSV or JSON file, with paths exactly as they are."""
    columns = ['severity', *(each.name for each in dataclasses.fields(Finding))]
    rows = [['error' if each.is_error else 'note', *dataclasses.astuple(each)] for each in findings]
    if Path(out).suffix == '.csv':
        content = write_csv([columns, *rows])
    else:
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        content = (json.dumps(records, indent=2) + '\n').encode()
    try:
        with open_atomic(out) as file:
            file.write(content)
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error.strerror or error}') from error
