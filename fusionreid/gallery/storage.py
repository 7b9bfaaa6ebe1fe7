"""Keeps galleries: as a folder of files, or in a table that keeps everything itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fusionreid.apis.calibration import Calibration
from fusionreid.apis.feature_spec import FeatureSpec
from fusionreid.errors import GalleryError

from .address import DatabaseAddress, Place, read_place
from .engines import build_engine
from .names import read_names
from .versioned_folder import MANIFEST, check_target, load_generation, save_generation

if TYPE_CHECKING:
    from .gallery import Gallery


class Saved(NamedTuple):
    """What a folder says about a gallery.

    Attributes:
        spec: What its features are.
        calibration: What distances mean.
        person_names: Names of identities by number.
        camera_names: Names of cameras by number.
        generation: Name of the state.
    """

    spec: FeatureSpec
    calibration: Calibration | None
    person_names: dict[int, str]
    camera_names: dict[int, str]
    generation: str


def read_record(record: Mapping[str, Any], place: object) -> tuple[FeatureSpec, Calibration | None]:
    """Read what the features of a gallery are, and what their distances mean.

    Args:
        record: As it was saved.
        place: Where, for a message.

    Returns:
        Both; no calibration if there is none.

    Raises:
        GalleryError: If the record is none.
        CalibrationError: If the calibration is none, or of other features.
    """
    try:
        spec = FeatureSpec(**record['features'])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(place, error) from error
    calibration = record.get('calibration')
    if calibration is None:
        return spec, None
    return spec, Calibration.from_dict(calibration, str(place), spec)


def _damaged(place: object, error: Exception) -> GalleryError:
    return GalleryError(f'{place} is damaged: its manifest is wrong: {error}')


def gallery_exists(place: Place) -> bool:
    """Tell whether there is a gallery.

    Args:
        place: A folder or a table.

    Raises:
        GalleryError: If the database cannot be asked.
    """
    place = read_place(place)
    if isinstance(place, DatabaseAddress):
        return build_engine(engine_of(place)).attach() is not None
    return (Path(place) / MANIFEST).exists()


def check_place(place: Place) -> None:
    """See that a gallery can be saved there, before hours of work.

    Raises:
        GalleryError: If a folder holds something else, or cannot be written to.
    """
    place = read_place(place)
    # A table is made, or found to fit, when the gallery is opened.
    if not isinstance(place, DatabaseAddress):
        check_target(place)


def engine_of(address: DatabaseAddress) -> dict[str, Any]:
    """Settings of the engine that a table is searched by."""
    return dict(type='pgvector', url=address.url, table=address.table)


def save(gallery: Gallery, place: Place | None, own: set[str], overwrite: bool) -> None:
    """Save a gallery, as :meth:`Gallery.save` describes.

    Args:
        gallery: The gallery, which is not empty.
        place: A folder or the gallery's own table; None for that.
        own: Names of the states of folders that may be replaced; that of the new one is added.
        overwrite: Replace any other state too.

    Raises:
        GalleryError: If it cannot be saved there.
    """
    assert gallery.spec is not None
    engine, calibration = gallery.engine, gallery.calibration
    record: dict[str, Any] = dict(features=asdict(gallery.spec))
    if calibration is not None:
        record['calibration'] = calibration.as_dict()
    given = engine.place if place is None else read_place(place)
    if given is None:
        raise GalleryError(f'the engine {engine.name} keeps nothing itself: name a folder')
    if isinstance(given, DatabaseAddress):
        if str(given) != str(engine.place):
            raise GalleryError(
                f'{given} is not where this gallery is, with the engine {engine.name}'
                + (f' at {engine.place}' if engine.place else '')
                + ': fusionreid gallery copy copies galleries'
            )
        engine.keep(record)
        engine.settle()
        return
    assert isinstance(given, str)
    engine.keep(record)
    manifest = dict(
        items=len(gallery),
        features=record['features'],
        engine=engine.settings,
        # An engine that keeps the names with the items has those of today.
        person_names=[] if engine.names else sorted(gallery.person_names.values()),
        camera_names=[] if engine.names else sorted(gallery.camera_names.values()),
        **{name: value for name, value in record.items() if name == 'calibration'},
    )
    engine.settle()
    save_generation(given, manifest, engine.write, own, overwrite)


def load(
    place: Place, build: Callable[[dict[str, Any], Saved | None], Gallery], verify: bool
) -> Gallery:
    """Load a gallery.

    Args:
        place: A folder or a table.
        build: Makes the gallery of the settings of its engine and what the folder says.
        verify: Whether the files of a folder are compared with their checksums first.

    Returns:
        The gallery.

    Raises:
        GalleryError: If there is none, or it is damaged.
    """
    place = read_place(place)
    if isinstance(place, DatabaseAddress):
        gallery = build(engine_of(place), None)
        if gallery.spec is None:
            raise GalleryError(f'{place} is no gallery: the database has no such table')
        return gallery

    def read(manifest: dict[str, Any], generation: Path) -> Gallery:
        spec, calibration = read_record(manifest, place)
        try:
            settings = dict(manifest['engine'])
            people, cameras = (
                read_names(manifest['person_names']),
                read_names(manifest['camera_names']),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(place, error) from error
        if settings.get('type') == 'milvus':
            _check_milvus_is_there(settings.get('uri'), place)
        gallery = build(settings, Saved(spec, calibration, people, cameras, generation.name))
        gallery.engine.read(generation, spec.width, spec.fingerprint)
        return gallery

    return load_generation(place, read, verify)


def _check_milvus_is_there(uri: Any, folder: object) -> None:
    """Refuse to load from an embedded Milvus that would be made at the path that an index names."""
    if isinstance(uri, str) and '://' not in uri and not Path(uri).exists():
        raise GalleryError(f'{folder} is in Milvus at {uri}, which does not exist: move it back')
