"""What a distance means: how often photos of different people are as near as that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import CalibrationError
from fusionreid.evaluation.functional import (
    MatchRates,
    ScoringInputError,
    SearchRates,
    evaluate_match_rates,
    evaluate_search_rates,
    labels_of_one_set,
    wilson_interval,
)
from fusionreid.evaluation.functional.memory import DEFAULT_MEMORY_LIMIT
from fusionreid.evaluation.functional.progress import StartMeter, start_meter
from fusionreid.evaluation.functional.unit_rows import unit_rows_
from fusionreid.utils.progress import Progress

from .feature_spec import FeatureSpec

# Of fewer pairs, two cameras get no rates of their own.
LEAST_DIFFERENT, LEAST_SAME, LEAST_PEOPLE = 5_000, 100, 10
CAMERA_PAIR_POINTS = 200
# Digits that are kept in files.
DIGITS = 7
CameraPair = tuple[int, int]


class RateEstimate(NamedTuple):
    """A rate, and how well it is known; numbers or arrays of one shape.

    Attributes:
        rate: The rate that was measured; at least one of what was counted.
        low: Lower end of its 95% confidence interval.
        high: Upper end.
    """

    rate: Any
    low: Any
    high: Any


@dataclass(frozen=True)
class Calibration:
    """Rates by distance, measured on labeled photos.

    The *false match rate* is the share of the pairs of different people that are nearer than a
    distance. The *rate of a search* is the share of searches for a stranger that find somebody
    nearer: the larger the gallery, the more.

    Args:
        pairs: Rates of all pairs.
        searches: Rates of searches, at the same distances.
        camera_pairs: Rates of pairs by query camera and gallery camera, both 0-based, of those
            that have pairs enough.
        spec: What the features are; None if that is not known.
        data: What they were measured on, in words.

    Example:
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        >>> people = torch.arange(50).repeat(4)
        >>> features = torch.randn(50, 8)[people] + 0.3 * torch.randn(200, 8)
        >>> calibration = Calibration.fit(features, people)
        >>> distance = calibration.distance_at(0.01)
        >>> rate, low, high = calibration.false_match_rate(distance)
        >>> 0.009 < rate <= 0.01, low < rate < high
        (True, True)
        >>> calibration.search_rate(distance, gallery_size=1000).rate > 0.5
        True
    """

    pairs: MatchRates
    searches: SearchRates
    camera_pairs: Mapping[CameraPair, MatchRates] = field(default_factory=dict)
    spec: FeatureSpec | None = None
    data: str = ''

    @classmethod
    def fit(
        cls,
        features: Tensor,
        person_ids: Tensor | Sequence[int],
        camera_ids: Tensor | Sequence[int] | None = None,
        roles: Sequence[str] | None = None,
        *,
        spec: FeatureSpec | None = None,
        data: str = '',
        remove_same_camera: bool = True,
        memory_limit: int = DEFAULT_MEMORY_LIMIT,
        progress: bool = False,
    ) -> Calibration:
        """Measure rates on labeled photos.

        Args:
            features: (N, D), of any length.
            person_ids: (N,) integers; photos of unknown people (negative) are left out.
            camera_ids: (N,) integers, 0-based, negative where unknown; None for all unknown.
            roles: ``'query'`` or ``'gallery'`` for each photo: only their pairs count, as in
                scoring. None takes all pairs.
            spec: What the features are, so that the calibration is used for these alone.
            data: What they are of, in words.
            remove_same_camera: Leave out pairs of one person in one camera.
            memory_limit: Bytes that may be used on top of the features and a copy of them.
            progress: Show lines on stderr.

        Returns:
            The calibration.

        Raises:
            CalibrationError: Too few people or pairs, or features that cannot be compared.
        """
        people = torch.as_tensor(person_ids).cpu()
        cameras = (
            torch.full_like(people, -1) if camera_ids is None else torch.as_tensor(camera_ids).cpu()
        )
        known = (people >= 0).nonzero().flatten()
        if len(known) < 2:
            raise CalibrationError(
                f'{len(known)} of {len(people)} photos have an identity: rates are measured on '
                'labeled photos, of several people, with several photos of each'
            )
        rows = features[known.to(features.device)].float()
        if roles is not None:
            roles = [roles[row] for row in known.tolist()]
        options: dict[str, Any] = dict(
            memory_limit=memory_limit, progress=Progress if progress else None
        )
        try:
            unit_rows_(rows, lambda row: f'the feature of photo {int(known[row])}')
            photos = _Photos.arrange(rows, people[known], cameras[known], roles, remove_same_camera)
            pairs = evaluate_match_rates(*photos.arguments, one_set=photos.one_set, **options)
            query, gallery, query_ids, gallery_ids, *_ = photos.arguments
            searches = evaluate_search_rates(
                query, gallery, query_ids, gallery_ids, pairs.distances, **options
            )
        except ScoringInputError as error:
            raise CalibrationError(f'nothing can be calibrated: {error}') from error
        return cls(pairs, searches, _fit_camera_pairs(photos, **options), spec, data)

    def false_match_rate(self, distance: Any, cameras: CameraPair | None = None) -> RateEstimate:
        """Tell how often two different people are as near.

        Args:
            distance: Of two features of length 1, in [0, 2]: a number, or an array.
            cameras: 0-based camera of the query and of the other photo: where there were enough
                pairs of them, the rate is that of the two cameras.

        Returns:
            The share of the pairs of different people that are nearer than the next distance that
            was measured, in [1 / number of pairs, 1], with its interval.
        """
        rates = self.pairs if cameras is None else self.camera_pairs.get(cameras, self.pairs)
        return _look_up(
            distance,
            rates.distances,
            rates.false_match_rates,
            rates.effective_pairs,
            rates.num_different,
        )

    def search_rate(self, distance: float, gallery_size: int) -> RateEstimate:
        """Tell how often a search for somebody who is not there finds somebody nearer.

        It is measured on galleries of the size that the calibration was fitted on. For another
        size, parts of a gallery are taken to answer independently of each other:
        ``1 - (1 - rate) ** (gallery_size / measured size)``.

        Args:
            distance: Photos nearer than it are answers.
            gallery_size: Images that are searched.

        Returns:
            The share of searches, with its interval.
        """
        searches = self.searches
        measured = _look_up(
            distance,
            self.pairs.distances,
            searches.rates,
            searches.effective_searches,
            searches.num_searches,
        )
        power = gallery_size / searches.gallery_size
        return RateEstimate(*(_power(value, power) for value in measured))

    def distance_at(self, rate: float, cameras: CameraPair | None = None) -> float:
        """Find the largest distance that keeps to a false match rate.

        Args:
            rate: Share of the pairs of different people that may be nearer, in (0, 1].
            cameras: 0-based cameras, see :meth:`false_match_rate`.

        Returns:
            The distance; infinite for a rate of 1.

        Raises:
            CalibrationError: No rate, or one that so few pairs cannot show.
        """
        _check_rate(rate)
        pairs = self.pairs
        if rate < 1 / pairs.num_different:
            nearest = _largest_within(pairs.distances, pairs.false_match_rates, 0)
            bound = self.false_match_rate(nearest).high
            raise CalibrationError(
                f'a false-match rate of {rate:g} cannot be told from {pairs.num_different:,} pairs '
                f'of {pairs.num_people} people, only {1 / pairs.num_different:.2g} and more: none '
                f'of them is nearer than {nearest:.4f}, which shows a rate of at most {bound:.2g} '
                f'there (95%)'
            )
        own = pairs if cameras is None else self.camera_pairs.get(cameras, pairs)
        if rate < 1 / own.num_different:
            own = pairs
        return _largest_within(own.distances, own.false_match_rates, rate)

    def distance_at_search_rate(self, rate: float, gallery_size: int) -> float:
        """Find the largest distance at which searches for strangers keep to a rate.

        Args:
            rate: Share of the searches that may find somebody, in (0, 1].
            gallery_size: Images that are searched, see :meth:`search_rate`.

        Returns:
            The distance; infinite for a rate of 1.

        Raises:
            CalibrationError: No rate, or one that so few searches cannot show.
        """
        _check_rate(rate)
        searches = self.searches
        measured = _power(rate, searches.gallery_size / gallery_size)
        if measured < 1 / searches.num_searches:
            least = _power(1 / searches.num_searches, gallery_size / searches.gallery_size)
            raise CalibrationError(
                f'a rate of {rate:g} of the searches in {gallery_size:,} images cannot be told '
                f'from {searches.num_searches:,} searches in {searches.gallery_size:,.0f}, only '
                f'{least:.2g} and more; a false-match rate of {rate / gallery_size:.2g} of the '
                f'pairs (max_fpr, --max-fpr) is on the safe side'
            )
        return _largest_within(self.pairs.distances, searches.rates, measured)

    def check_spec(self, spec: FeatureSpec) -> None:
        """Compare with the features that the calibration is to be used for.

        Args:
            spec: What they are.

        Raises:
            CalibrationError: They are of another model, feature, protocol or preparation.
        """
        if self.spec is None:
            return
        if problem := self.spec.difference(spec):
            raise CalibrationError(
                f'the calibration is of other features ({problem}): calibrate these '
                '(fusionreid calibrate)'
            )

    def bound_to(self, spec: FeatureSpec | None) -> Calibration:
        """Take it for features of a kind.

        Args:
            spec: What they are; None if that is not known.

        Returns:
            The calibration, which knows them from now on.

        Raises:
            CalibrationError: As for :meth:`check_spec`.
        """
        if spec is None:
            return self
        self.check_spec(spec)
        return replace(self, spec=spec)

    def describe(self) -> str:
        """Say in one line what it rests on."""
        pairs, searches = self.pairs, self.searches
        text = (
            f'{pairs.num_different:,} pairs of {pairs.num_people} people, '
            f'{searches.num_searches:,} searches in {searches.gallery_size:,.0f} images'
        )
        return f'{self.data}: {text}' if self.data else text

    def as_dict(self) -> dict[str, Any]:
        """Write it as JSON can hold it, without what the features are."""
        return dict(
            data=self.data,
            pairs=_as_record(self.pairs),
            searches=_as_record(self.searches),
            camera_pairs=[
                dict(query=query, gallery=gallery, **_as_record(rates))
                for (query, gallery), rates in self.camera_pairs.items()
            ],
        )

    @classmethod
    def from_dict(
        cls, record: Any, where: str | Path, spec: FeatureSpec | None = None
    ) -> Calibration:
        """Read what :meth:`as_dict` wrote.

        Args:
            record: What was read from a file, which is not trusted.
            where: The file, for messages.
            spec: What the features are.

        Returns:
            The calibration.

        Raises:
            CalibrationError: It is damaged.
        """
        try:
            pairs = _read_match_rates(record['pairs'])
            return cls(
                pairs=pairs,
                searches=_read_search_rates(record['searches'], len(pairs.distances)),
                camera_pairs={
                    (_count(part['query'], 0), _count(part['gallery'], 0)): _read_match_rates(part)
                    for part in record['camera_pairs']
                },
                spec=spec,
                data=str(record['data']),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(
                f'the calibration in {where} is damaged ({error}): calibrate again'
            ) from error


def _check_rate(rate: float) -> None:
    if not 0 < rate <= 1:
        raise CalibrationError(f'a rate must be above 0 and at most 1, got {rate:g}')


def _largest_within(distances: Tensor, rates: Tensor, rate: float) -> float:
    """The largest distance whose rate is at most ``rate``; infinite for 1."""
    if rate >= 1:
        return math.inf
    # A rate that was written as a decimal may lie just below that of whole pairs.
    place = int(torch.searchsorted(rates, rate * (1 + 1e-9), right=True)) - 1
    return float(distances[max(place, 0)])


def _power(rate: Any, power: float) -> Any:
    """``1 - (1 - rate) ** power``, without losing the digits of small rates."""
    with np.errstate(divide='ignore'):  # of a rate of 1
        value = -np.expm1(power * np.log1p(-np.asarray(rate, dtype=np.float64)))
    return value if np.ndim(value) else float(value)


def _look_up(
    distance: Any, distances: Tensor, rates: Tensor, numbers: Tensor, total: int
) -> RateEstimate:
    """Rates at the next distance that was measured; 1 beyond the last."""
    wanted = torch.as_tensor(np.asarray(distance, dtype=np.float64))
    place = torch.searchsorted(distances, wanted)
    rate = torch.cat([rates, rates.new_ones(1)])[place]
    low, high = wilson_interval(rate, torch.cat([numbers, numbers[-1:]])[place])
    rate = rate.clamp_min(1 / total)
    # Of nothing that was counted the interval says more than one of so many.
    low, high = torch.minimum(low, rate), torch.maximum(high, rate)
    if wanted.ndim == 0:
        return RateEstimate(float(rate), float(low), float(high))
    return RateEstimate(rate.numpy(), low.numpy(), high.numpy())


@dataclass(frozen=True)
class _Photos:
    """Labeled photos whose pairs are measured.

    Args:
        query: Features (q, d).
        gallery: Features (g, d); the same where all pairs of one set count.
        people: Identities of both.
        cameras: Cameras of both, -1 where unknown.
        one_set: Whether both are the same.
        remove_same_camera: Whether pairs of one person in one camera are left out.
    """

    query: Tensor
    gallery: Tensor
    people: tuple[Tensor, Tensor]
    cameras: tuple[Tensor, Tensor]
    one_set: bool
    remove_same_camera: bool

    @classmethod
    def arrange(
        cls,
        features: Tensor,
        people: Tensor,
        cameras: Tensor,
        roles: Sequence[str] | None,
        remove_same_camera: bool,
    ) -> _Photos:
        """Take queries and gallery apart, if there are any."""
        cameras = cameras.clamp_min(-1)
        if roles is None:
            return cls(features, features, (people,) * 2, (cameras,) * 2, True, remove_same_camera)
        is_query = torch.tensor([role == 'query' for role in roles])
        sides = [(features[mask], people[mask], cameras[mask]) for mask in (is_query, ~is_query)]
        (query, *of_query), (gallery, *of_gallery) = sides
        ids, seen = zip(of_query, of_gallery, strict=True)
        return cls(query, gallery, ids, seen, False, remove_same_camera)

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """Features, identities and cameras, as the scoring functions take them."""
        cameras = list(self.cameras)
        if not self.remove_same_camera:
            cameras = [torch.full_like(part, -1) for part in cameras]
        if self.one_set:
            ids, own = labels_of_one_set(self.people[0], cameras[0], len(self.query))
            return self.query, self.gallery, ids, ids, own, own
        return self.query, self.gallery, *self.people, *cameras

    def of_cameras(self, query: int, gallery: int) -> _Photos:
        """Those of two cameras; in one camera, pairs of one person stay."""
        rows, columns = self.cameras[0] == query, self.cameras[1] == gallery
        return _Photos(
            self.query[rows],
            self.gallery[columns],
            (self.people[0][rows], self.people[1][columns]),
            (self.cameras[0][rows], self.cameras[1][columns]),
            self.one_set and query == gallery,
            self.remove_same_camera and query != gallery,
        )


def _fit_camera_pairs(
    photos: _Photos, memory_limit: int, progress: StartMeter | None
) -> dict[CameraPair, MatchRates]:
    """Measure the pairs of each two cameras that have enough of them."""
    found: dict[CameraPair, MatchRates] = {}
    wanted = list(_enough_pairs(photos))
    meter = start_meter(progress, 'camera pairs', len(wanted))
    for done, cameras in enumerate(wanted, 1):
        own = photos.of_cameras(*cameras)
        try:
            rates = evaluate_match_rates(
                *own.arguments,
                one_set=own.one_set,
                num_points=CAMERA_PAIR_POINTS,
                memory_limit=memory_limit,
            )
        except ScoringInputError:  # no pair of the same person
            continue
        finally:
            meter.update(done)
        enough = rates.num_same >= LEAST_SAME and rates.num_different >= LEAST_DIFFERENT
        if enough and rates.num_people >= LEAST_PEOPLE:
            found[cameras] = rates
            if photos.one_set:
                found[cameras[::-1]] = rates
    return found


def _enough_pairs(photos: _Photos) -> Iterator[CameraPair]:
    """Cameras that may have enough pairs; of one set each two once."""
    counts = []
    for side in photos.cameras:
        cameras, images = side[side >= 0].unique(return_counts=True)
        counts.append(list(zip(cameras.tolist(), images.tolist(), strict=True)))
    for query, rows in counts[0]:
        for gallery, columns in counts[1]:
            if rows * columns >= LEAST_DIFFERENT and not (photos.one_set and gallery < query):
                yield query, gallery


def _as_record(rates: MatchRates | SearchRates) -> dict[str, Any]:
    return {
        name: [float(f'{number:.{DIGITS}g}') for number in value.tolist()]
        if isinstance(value, Tensor)
        else value
        for name, value in asdict(rates).items()
    }


def _read_match_rates(record: Any) -> MatchRates:
    columns: dict[str, Any] = {
        name: _column(record[name], name)
        for name in ('distances', 'false_match_rates', 'true_match_rates', 'effective_pairs')
    }
    counts: dict[str, Any] = {
        name: _count(record[name]) for name in ('num_same', 'num_different', 'num_people')
    }
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError('its columns differ in length')
    for name in ('distances', 'false_match_rates', 'true_match_rates'):
        if (columns[name].diff() < 0).any():
            raise ValueError(f'{name} do not ascend')
    _check_shares(columns['false_match_rates'], columns['effective_pairs'])
    return MatchRates(**columns, **counts)


def _read_search_rates(record: Any, count: int) -> SearchRates:
    rates, numbers = (_column(record[name], name) for name in ('rates', 'effective_searches'))
    size = record['gallery_size']
    if len(rates) != count or len(numbers) != count or (rates.diff() < 0).any():
        raise ValueError('its search rates do not fit its distances')
    _check_shares(rates, numbers)
    if not isinstance(size, (int, float)) or not 0 < size < math.inf:
        raise ValueError(f'its gallery has the size {size!r:.80}')
    return SearchRates(rates, numbers, _count(record['num_searches']), float(size))


def _check_shares(rates: Tensor, numbers: Tensor) -> None:
    if (rates < 0).any() or (rates > 1).any() or (numbers < 1).any():
        raise ValueError('a share is outside of [0, 1], or rests on less than one pair')


def _column(values: Any, name: str) -> Tensor:
    column = torch.tensor(values, dtype=torch.float64)
    if column.dim() != 1 or not len(column) or not column.isfinite().all():
        raise ValueError(f'{name} are no numbers')
    return column


def _count(value: Any, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f'{value!r:.80} is no count')
    return value
