"""What distances mean: rates of labeled photos, kept in a file, for the features they are of."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from manifests import change_manifest
from torch.nn.functional import normalize

from fusionreid.apis import (
    Calibration,
    FeatureSpec,
    find_calibration,
    load_calibration,
    save_calibration,
)
from fusionreid.errors import CalibrationError


def photos(num_ids=30, each=8, seed=0, num_cameras=2):
    random = torch.Generator().manual_seed(seed)
    ids = torch.arange(num_ids).repeat(each)
    features = torch.randn(num_ids, 8, generator=random)[ids]
    features = features + 0.5 * torch.randn(len(ids), 8, generator=random)
    return features, ids, torch.arange(len(ids)) // num_ids % num_cameras


@pytest.fixture(scope='module')
def calibration() -> Calibration:
    return Calibration.fit(*photos(), data='thirty people')


SPEC = FeatureSpec(
    8, 'all', 'before BNNeck', '/somewhere/epoch_6.pth', '1' * 64, 'model = 1\nb = 2\n'
)


def pair_distances(features, ids):
    rows = normalize(features).double()
    first, second = torch.triu_indices(len(ids), len(ids), 1)
    apart = (rows[first] - rows[second]).norm(dim=1)
    return apart, ids[first] == ids[second], first, second


def test_rates_are_those_of_all_pairs_of_the_photos(calibration):
    features, ids, _ = photos()
    apart, same, *_ = pair_distances(features, ids)
    count = int((~same).sum())
    assert calibration.pairs.num_different == count
    for distance in (0.2, 0.5, 0.8, 1.1, 1.9):
        measured = float((apart[~same] < distance).double().mean())
        rate, low, high = calibration.false_match_rate(distance)
        assert max(measured, 1 / count) <= rate <= measured * 1.02 + 2 / count
        assert 0 <= low <= rate <= high <= 1
    assert calibration.false_match_rate(2.5).rate == 1
    table = calibration.false_match_rate(np.array([[0.2, 0.5], [0.8, 1.1]]))
    assert table.rate.shape == (2, 2)
    assert table.rate[1, 0] == calibration.false_match_rate(0.8).rate


def test_the_distance_of_a_rate_keeps_to_it_and_is_no_smaller_than_needed(calibration):
    features, ids, _ = photos()
    apart, same, *_ = pair_distances(features, ids)
    others = apart[~same]
    for rate in (1e-4, 1e-3, 0.01, 0.3):
        distance = calibration.distance_at(rate)
        found = float((others < distance).double().mean())
        assert found <= rate
        assert found >= 0.97 * rate - 2 / len(others)
        assert calibration.false_match_rate(distance).rate <= rate
    assert calibration.distance_at(1.0) == math.inf


def test_searches_of_the_measured_size_are_those_of_the_photos(calibration):
    features, ids, _ = photos()
    apart = torch.cdist(normalize(features).double(), normalize(features).double())
    apart[ids[:, None] == ids] = torch.inf
    size = round(calibration.searches.gallery_size)
    assert size == 232
    for distance in (0.4, 0.6, 0.8):
        measured = float((apart.amin(1) < distance).double().mean())
        rate, low, high = calibration.search_rate(distance, size)
        assert rate == pytest.approx(max(measured, 1 / 240), abs=0.02)
        assert low <= rate <= high
    wanted = calibration.distance_at_search_rate(0.2, size)
    assert 0.15 < float((apart.amin(1) < wanted).double().mean()) <= 0.2


def test_a_larger_gallery_finds_strangers_more_often(calibration):
    distance = calibration.distance_at_search_rate(0.1, 232)
    rates = [calibration.search_rate(distance, size).rate for size in (10, 232, 2320)]
    assert rates[1] == pytest.approx(0.1, abs=0.02)
    assert rates[2] == pytest.approx(1 - (1 - rates[1]) ** 10, rel=1e-6)
    assert rates == sorted(rates)
    nearer = calibration.distance_at_search_rate(0.1, 2320)
    assert nearer < distance


def test_what_few_pairs_cannot_tell_is_said_with_what_they_can(calibration):
    with pytest.raises(CalibrationError) as refused:
        calibration.distance_at(1e-7)
    text = str(refused.value)
    count = calibration.pairs.num_different
    assert (
        f'cannot be told from {count:,} pairs of 30 people, only {1 / count:.2g} and more' in text
    )
    bound = float(text.partition('at most ')[2].split()[0])
    # No fewer than three over all pairs, as if they were independent.
    assert bound > 3 / count
    with pytest.raises(
        CalibrationError, match=r'only 0\.\d+ and more; a false-match rate of 1e-08'
    ):
        calibration.distance_at_search_rate(1e-4, 10_000)
    for rate in (0, -1, 1.5, math.nan):
        with pytest.raises(CalibrationError, match='must be above 0 and at most 1'):
            calibration.distance_at(rate)
        with pytest.raises(CalibrationError, match='must be above 0 and at most 1'):
            calibration.distance_at_search_rate(rate, 100)


@pytest.fixture(scope='module')
def two_cameras() -> tuple:
    features, ids, cameras = photos(num_ids=40, each=10)
    # In camera 1 everybody looks alike.
    features[cameras == 1] = features[cameras == 1] * 0.3 + 1.5
    fitted = Calibration.fit(features, ids, cameras, spec=SPEC, data='two cameras')
    return features, ids, cameras, fitted


def test_two_cameras_with_pairs_enough_have_rates_of_their_own(two_cameras):
    features, ids, cameras, calibration = two_cameras
    assert set(calibration.camera_pairs) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    apart, same, first, second = pair_distances(features, ids)
    for pair in ((0, 1), (1, 1)):
        chosen = ~same & (cameras[first] + cameras[second] == sum(pair))
        assert calibration.camera_pairs[pair].num_different == int(chosen.sum())
        measured = float((apart[chosen] < 0.7).double().mean())
        assert calibration.false_match_rate(0.7, pair).rate == pytest.approx(measured, abs=0.02)
    assert calibration.distance_at(0.01, (1, 1)) < calibration.distance_at(0.01, (0, 0))
    # Cameras without rates of their own have those of all.
    assert calibration.distance_at(0.01, (5, 0)) == calibration.distance_at(0.01)
    few = Calibration.fit(*photos(num_ids=8, each=6))
    assert few.camera_pairs == {}


def test_queries_and_gallery_are_compared_where_there_are_roles():
    features, ids, cameras = photos()
    roles = ['query' if row < 60 else 'gallery' for row in range(len(ids))]
    calibration = Calibration.fit(features, ids, cameras, roles)
    assert calibration.pairs.num_different == int((ids[:60, None] != ids[60:]).sum())
    assert calibration.searches.num_searches == 60


def test_photos_of_unknown_people_are_left_out(calibration):
    features, ids, cameras = photos()
    more = torch.cat([features, torch.full((5, 8), math.nan)])
    labels = torch.cat([ids, torch.full((5,), -1)])
    found = Calibration.fit(more, labels, torch.cat([cameras, torch.zeros(5, dtype=torch.int64)]))
    assert found.pairs.num_different == calibration.pairs.num_different


@pytest.mark.parametrize(
    ('ids', 'message'),
    [
        ([-1] * 6, '0 of 6 photos have an identity'),
        ([1] * 6, 'all queries and gallery images show the same person'),
        ([1, 2, 3, 4, 5, 6], 'no query and gallery image show the same person'),
    ],
)
def test_too_few_people(ids, message):
    with pytest.raises(CalibrationError, match=message):
        Calibration.fit(torch.randn(6, 4), ids)


def test_a_file_gives_back_what_was_saved(calibration, two_cameras, tmp_path):
    fitted = two_cameras[3]
    path = tmp_path / 'new' / 'a.calibration.json'
    save_calibration(fitted, path)
    loaded = load_calibration(path)
    assert loaded.spec == SPEC
    assert loaded.data == 'two cameras'
    assert loaded.camera_pairs.keys() == fitted.camera_pairs.keys()
    for rate in (1e-3, 0.01):
        assert loaded.distance_at(rate) == pytest.approx(fitted.distance_at(rate), rel=1e-5)
        assert loaded.distance_at(rate, (0, 1)) == pytest.approx(
            fitted.distance_at(rate, (0, 1)), rel=1e-5
        )
    assert loaded.search_rate(0.5, 99) == pytest.approx(fitted.search_rate(0.5, 99), rel=1e-4)
    with pytest.raises(CalibrationError, match='does not say of which features'):
        save_calibration(calibration, path)


def test_other_features_are_refused_in_a_line(calibration):
    fitted = replace(calibration, spec=SPEC)
    fitted.check_spec(replace(SPEC, checkpoint='/elsewhere/renamed.pth'))
    for other in (
        replace(SPEC, feature='cnn'),
        replace(SPEC, width=9),
        replace(SPEC, protocol='after BNNeck'),
        replace(SPEC, sha256='2' * 64),
    ):
        with pytest.raises(CalibrationError, match='is of other features') as refused:
            fitted.check_spec(other)
        assert SPEC.label in str(refused.value)
        assert other.label in str(refused.value)
        assert '\n' not in str(refused.value)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda content: content['calibration'].pop('pairs'), 'is damaged'),
        (lambda content: content['calibration']['pairs'].update(distances=[2, 1]), 'is damaged'),
        (lambda content: content['calibration']['pairs'].update(num_different=0), 'is damaged'),
        (lambda content: content['calibration']['pairs'].update(num_people='many'), 'is damaged'),
        (lambda content: content['calibration']['searches'].update(gallery_size=-1), 'is damaged'),
        (lambda content: content['calibration']['searches'].update(rates=[0.5]), 'is damaged'),
        (lambda content: content['calibration'].update(camera_pairs=[{}]), 'is damaged'),
        (lambda content: content.update(calibration=None), 'is damaged'),
        (lambda content: content.update(features={'width': 0}), 'is damaged'),
        (lambda content: content.update(format='fusionreid-calibration-0'), 'has the format'),
    ],
)
def test_a_changed_file_is_refused_whether_it_is_sealed_again_or_not(
    calibration, change, message, tmp_path
):
    path = tmp_path / 'a.calibration.json'
    save_calibration(replace(calibration, spec=SPEC), path)
    whole = path.read_bytes()
    change_manifest(path, change)
    with pytest.raises(CalibrationError, match=message) as refused:
        load_calibration(path)
    assert 'calibrate again' in str(refused.value)
    path.write_bytes(whole.replace(b'"num_people"', b'"num_folk"'))
    with pytest.raises(CalibrationError, match='is damaged'):
        load_calibration(path)


def test_no_file_no_calibration(tmp_path):
    with pytest.raises(CalibrationError, match='make it by fusionreid calibrate'):
        load_calibration(tmp_path / 'none.json')
    assert find_calibration(replace(SPEC, checkpoint=str(tmp_path / 'epoch_1.pth'))) is None
    assert find_calibration(FeatureSpec(8)) is None


def test_the_file_beside_a_checkpoint_is_found_and_an_old_one_left_alone(calibration, tmp_path):
    spec = replace(SPEC, checkpoint=str(tmp_path / 'epoch_6.pth'))
    path = tmp_path / 'epoch_6.pth.all.calibration.json'
    save_calibration(replace(calibration, spec=spec), path)
    assert find_calibration(spec).spec == spec
    assert find_calibration(replace(spec, feature='cnn')) is None
    assert find_calibration(replace(spec, sha256='3' * 64)) is None
    path.write_bytes(path.read_bytes()[:-9])
    assert find_calibration(spec) is None
