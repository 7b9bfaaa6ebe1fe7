"""Renders a whole data set into a folder."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from joblib import cpu_count

from fusionreid.errors import (
    ConfigError,
    DatasetExistsError,
    DatasetFormatError,
    DatasetNotFoundError,
)

from .difficulty import DIFFICULTIES, EVERYDAY
from .identity import sample_identities
from .layout import MAX_CAMERAS, Plan, PlannedImage, plan_data_set
from .render import World, prepare_places, render_image, render_silhouette
from .world import STREET, WORLDS, WorldConfig

# Raised whenever the same parameters give other pictures.
RENDERER_VERSION = 1
# Written beside the images, with the parameters that they were made by.
RECORD = 'synthetic.json'
_BYSTANDER_SEED = 2**32
# What a record does not state.
_FIRST = {'world': STREET.name, 'difficulty': EVERYDAY.name}


@dataclass(frozen=True)
class SyntheticConfig:
    """What a rendered data set depends on.

    Args:
        ids_train: Number of people to train with.
        ids_test: Number of other people to test with.
        images_per_camera: Pictures per person and camera, at least 2.
        cameras: Number of cameras; None for as many as the layout's data set has.
        height: Height of the pictures in pixels, 64 to 512.
        width: Width of the pictures in pixels, 32 to 256.
        seed: Seed, at least 0.
        layout: market1501, msmt17 or dukemtmc; or folders, which are named as people name
            cameras, with a table people.csv.
        distractors: Whether a Market-1501 gallery holds ids -1 and 0 too.
        world: What people and streets are like, a key of :data:`WORLDS`. Nobody is in two worlds.
        difficulty: How hard people are to tell apart and to see, a key of :data:`DIFFICULTIES`.
    """

    ids_train: int = 300
    ids_test: int = 60
    images_per_camera: int = 4
    cameras: int | None = None
    height: int = 128
    width: int = 64
    seed: int = 0
    layout: str = 'market1501'
    distractors: bool = True
    world: str = STREET.name
    difficulty: str = EVERYDAY.name

    @property
    def style(self) -> WorldConfig:
        """What people and streets are like.

        Raises:
            ConfigError: If there is no such world or difficulty.
        """
        for name, known in (('world', WORLDS), ('difficulty', DIFFICULTIES)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f'{name} must be one of {", ".join(known)}, got {getattr(self, name)!r}'
                )
        return WORLDS[self.world].harder(DIFFICULTIES[self.difficulty])

    def plan(self) -> Plan:
        """List the pictures.

        Returns:
            The pictures and list files.

        Raises:
            ConfigError: If a parameter is out of range.
        """
        for name, lowest, highest in (('height', 64, 512), ('width', 32, 256)):
            if not lowest <= getattr(self, name) <= highest:
                raise ConfigError(
                    f'{name} must be from {lowest} to {highest}, got {getattr(self, name)}'
                )
        return plan_data_set(
            self.layout,
            self.ids_train,
            self.ids_test,
            self.images_per_camera,
            MAX_CAMERAS.get(self.layout, 0) if self.cameras is None else self.cameras,
            self.seed,
            self.distractors,
        )


def _describe(config: SyntheticConfig, plan: Plan) -> dict:
    values = asdict(config)
    if values['cameras'] is None:
        values['cameras'] = MAX_CAMERAS[config.layout]
    for name, first in _FIRST.items():
        if values[name] == first:
            del values[name]  # as before there were others
    return {'renderer_version': RENDERER_VERSION, **values, 'num_images': len(plan.images)}


def _render_group(world: World, root: str, images: list[PlannedImage]) -> int:
    """Render pictures into files and return how many."""
    cv2.setNumThreads(1)  # the processes already use every core
    for image in images:
        data = render_image(
            world, image.person, image.camera, image.track, image.image, image.misplaced
        )
        Path(root, image.path).write_bytes(data)
    return len(images)


def _groups(images: list[PlannedImage]) -> list[list[PlannedImage]]:
    """Cut the pictures into pieces of work, one per person, whose pictures share textures."""
    ordered = sorted(images, key=lambda image: -1 if image.person is None else image.person)
    return [list(group) for _, group in groupby(ordered, key=lambda image: image.person)]


def _run(world: World, root: Path, groups: list[list[PlannedImage]], workers: int) -> Iterator[int]:
    job = partial(_render_group, world, str(root))
    if workers == 1:
        yield from map(job, groups)
        return
    # fork shares the painted scenes; where there is none, every worker paints its own
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            yield from pool.map(job, groups)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _already_rendered(out: Path, wanted: dict) -> bool:
    """Whether ``out`` holds this very render; raises if it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    record = out / RECORD
    if not out.is_dir() or not record.is_file():
        raise DatasetExistsError(
            f'{out} exists and is not a rendered data set; choose another folder, or remove it'
        )
    try:
        found = json.loads(record.read_text())
    except json.JSONDecodeError as error:
        raise DatasetExistsError(f'{record} cannot be read ({error}); remove {out}') from error
    found, wanted = ({**_FIRST, **each} for each in (found, wanted))
    different = {
        key: (found.get(key), value) for key, value in wanted.items() if found.get(key) != value
    }
    if different:
        listing = ', '.join(
            f'{key} {old!r} instead of {new!r}' for key, (old, new) in different.items()
        )
        raise DatasetExistsError(
            f'{out} holds a data set that was rendered with {listing}; '
            'choose another folder, or remove it'
        )
    present = sum(path.suffix.lower() in ('.jpg', '.jpeg') for path in out.rglob('*'))
    if present != wanted['num_images']:
        raise DatasetExistsError(
            f'{out} should hold {wanted["num_images"]} images but has {present}; '
            'remove it and render again'
        )
    return True


def _world(config: SyntheticConfig, plan: Plan) -> World:
    style = config.style
    difficulty, seed = style.difficulty, config.seed + style.first_seed
    people = sample_identities(plan.num_people, seed, style.choices, difficulty.lookalikes)
    bystanders = sample_identities(difficulty.bystanders, seed + _BYSTANDER_SEED, style.choices)
    return World(seed, config.height, config.width, tuple(people), tuple(bystanders), style)


def render_silhouettes(
    root: str | Path, paths: Iterable[str] | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Render where the persons of a rendered data set are seen in its pictures.

    Args:
        root: Folder from :func:`render_data_set`.
        paths: Pictures, relative to the folder, as ``'query/0301_c1s1_000001_00.jpg'``; None for
            all of them.

    Yields:
        The path and the mask (H, W), uint8: 255 on the person, less on their edge, 0 elsewhere and
        where something stands before them.

    Raises:
        DatasetNotFoundError: If the folder is no rendered data set.
        DatasetFormatError: If another version rendered it, or it has no such picture.
    """
    config = _read_config(Path(root))
    plan = config.plan()
    world = _world(config, plan)
    planned = {image.path: image for image in plan.images}
    for path in planned if paths is None else paths:
        if path not in planned:
            raise DatasetFormatError(f'{path} is no picture of the rendered data set {root}')
        image = planned[path]
        yield (
            path,
            render_silhouette(
                world, image.person, image.camera, image.track, image.image, image.misplaced
            ),
        )


def read_plan(root: str | Path) -> Plan:
    """List the pictures of a rendered data set, with their persons and cameras.

    Args:
        root: Folder from :func:`render_data_set`.

    Returns:
        The pictures and list files.

    Raises:
        DatasetNotFoundError: If the folder is no rendered data set.
        DatasetFormatError: If another version rendered it.
    """
    return _read_config(Path(root)).plan()


def _read_config(root: Path) -> SyntheticConfig:
    """Read what a data set was rendered with."""
    record = root / RECORD
    if not record.is_file():
        raise DatasetNotFoundError(f'{root} is no rendered data set: it holds no {RECORD}')
    try:
        found = json.loads(record.read_text())
    except json.JSONDecodeError as error:
        raise DatasetFormatError(f'{record} cannot be read ({error})') from error
    names = [field.name for field in fields(SyntheticConfig)]
    if isinstance(found, dict):
        found = {**_FIRST, **found}
    if not isinstance(found, dict) or not set(names) <= set(found):
        raise DatasetFormatError(f'{record} does not state {names}')
    if found.get('renderer_version') != RENDERER_VERSION:
        raise DatasetFormatError(
            f'{root} was rendered by version {found.get("renderer_version")} of the renderer, this '
            f'is version {RENDERER_VERSION}: render it again'
        )
    return SyntheticConfig(**{name: found[name] for name in names})


def render_data_set(
    out: str | Path,
    config: SyntheticConfig,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Render a data set into a folder.

    The files do not depend on the number of workers. They are written into a folder beside ``out``
    that gets its name once it is complete, so ``out`` is never half a data set.

    Args:
        out: The folder; it must be missing, empty, or already hold this very data set.
        config: What to render.
        workers: Number of processes; None for one per core.
        progress: Called with the number of pictures done and
            to do, from 0 on.

    Returns:
        Whether it was rendered; False if ``out`` already held it.

    Raises:
        ConfigError: If a parameter is out of range.
        DatasetExistsError: If ``out`` holds something else.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f'workers must be at least 1, got {workers}')
    out = Path(out)
    plan = config.plan()
    record = _describe(config, plan)
    if _already_rendered(out, record):
        return False
    world = _world(config, plan)
    total, done = len(plan.images), 0
    groups = _groups(plan.images)
    workers = min(workers or cpu_count(), len(groups))
    partial_out = out.absolute().parent / f'.{out.name}.rendering-{os.getpid()}'
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # threads started before a fork would hang in the children
    try:
        for folder in sorted({Path(image.path).parent for image in plan.images}):
            (partial_out / folder).mkdir(parents=True, exist_ok=True)
        if progress:
            progress(0, total)
        prepare_places(record['cameras'], world)
        for count in _run(world, partial_out, groups, workers):
            done += count
            if progress:
                progress(done, total)
        for name, text in plan.texts.items():
            (partial_out / name).write_text(text, encoding='utf-8')
        (partial_out / RECORD).write_text(json.dumps(record, indent=2) + '\n')
        os.replace(partial_out, out)
    finally:
        cv2.setNumThreads(threads)
        shutil.rmtree(partial_out, ignore_errors=True)
    return True
