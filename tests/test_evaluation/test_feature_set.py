import json
import os

import pytest
import torch
from full_disk import full_disk
from manifests import change_manifest
from safetensors.torch import save_file

from fusionreid.errors import ScoringError
from fusionreid.evaluation import FeatureSet


def make(count=6, **changes):
    arguments = {
        'features': torch.randn(count, 5),
        'widths': {'cnn': 3, 'transformer': 2},
        'person_ids': torch.arange(count) // 2,
        'camera_ids': torch.tensor([0, -1] * (count // 2)),
        'roles': ['query', 'gallery'] * (count // 2),
        'img_paths': [f'folder, with "comma"\r\n{row}/\rä.jpg' for row in range(count)],
        'protocol': {'dataset_name': 'Market-1501', 'release': None},
        **changes,
    }
    return FeatureSet(**arguments)


def test_select_and_split():
    features = make()
    assert features.names == ('cnn', 'transformer')
    assert len(features) == 6
    assert torch.equal(features.select('transformer'), features.features[:, 3:])
    assert torch.equal(
        features.select(['transformer', 'cnn']), features.features[:, [3, 4, 0, 1, 2]]
    )
    assert features.select('all').data_ptr() == features.features.data_ptr()
    query, gallery = features.split()
    assert torch.equal(query.features, features.features[::2])
    assert query.img_paths == features.img_paths[::2]
    assert gallery.camera_ids.tolist() == [-1, -1, -1]
    assert set(gallery.roles) == {'gallery'}
    with pytest.raises(KeyError, match="no feature 'text'; the set holds cnn, transformer"):
        features.select('text')
    with pytest.raises(ValueError, match="role 'train'"):
        features.rows('train')


def test_some_of_the_features():
    features = make()
    both = features.only(['transformer', 'cnn'])
    assert both.widths == {'transformer': 2, 'cnn': 3}
    assert both.img_paths == features.img_paths
    assert torch.equal(both.select('cnn'), features.select('cnn'))
    assert features.only(['cnn', 'all']) is features
    with pytest.raises(KeyError, match="no feature 'text'"):
        features.only(['text'])


def test_save_and_load(tmp_path):
    features = make()
    features.save(tmp_path / 'deep' / 'folder')
    loaded = FeatureSet.load(tmp_path / 'deep' / 'folder')
    assert torch.equal(loaded.features, features.features)
    assert torch.equal(loaded.person_ids, features.person_ids)
    assert torch.equal(loaded.camera_ids, features.camera_ids)
    assert loaded.roles == features.roles
    assert loaded.img_paths == features.img_paths
    assert loaded.widths == features.widths
    assert loaded.protocol == features.protocol


def test_saved_files_can_be_read_by_others(tmp_path):
    make().save(tmp_path)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert len(modes) == 1
    assert modes.pop() & 0o044 == 0o044 & ~os.umask(os.umask(0o022))


def test_a_table_elsewhere_is_refused(tmp_path):
    make().save(tmp_path)
    manifest = tmp_path / 'features.json'
    known = manifest.read_bytes()
    for names in (['../samples-x.csv'], ['/etc/hostname'], [['samples.csv']]):
        manifest.write_bytes(known)
        change_manifest(manifest, lambda content, names=names: content.update(samples=names[0]))
        with pytest.raises(ScoringError, match='not written by FeatureSet.save'):
            FeatureSet.load(tmp_path)
    manifest.write_bytes(known)
    change_manifest(
        manifest, lambda content: content['files'].update({'../samples-x.csv': dict(size=3)})
    )
    with pytest.raises(ScoringError, match='is damaged: it records .../samples-x.csv'):
        FeatureSet.load(tmp_path)


def test_features_of_an_older_version_are_refused(tmp_path):
    save_file({'features': torch.zeros(1, 1)}, tmp_path / 'features.safetensors')
    with pytest.raises(ScoringError, match='older version, without checksums: extract them again'):
        FeatureSet.load(tmp_path)


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path):
    make().save(tmp_path)
    other = make(8)
    other.save(tmp_path)
    assert len(FeatureSet.load(tmp_path)) == 8
    assert len(list(tmp_path.iterdir())) == 3


def test_an_interrupted_save_leaves_the_earlier_one(tmp_path, monkeypatch):
    first = make()
    first.save(tmp_path)

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr('fusionreid.utils.files.save_file', fail)
    with pytest.raises(KeyboardInterrupt):
        make(8).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert torch.equal(FeatureSet.load(tmp_path).features, first.features)


def test_a_full_disk_leaves_the_earlier_one(tmp_path):
    first = make()
    first.save(tmp_path)
    (tmp_path / 'samples-mine.csv').write_text('not ours')
    before = sorted(path.name for path in tmp_path.iterdir())
    large = make(features=torch.randn(6, 50_000), widths={'cnn': 50_000}, protocol={})
    with full_disk(100_000), pytest.raises(OSError, match='cannot be written.*large'):
        large.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert torch.equal(FeatureSet.load(tmp_path).features, first.features)
    make(8).save(tmp_path)
    assert (tmp_path / 'samples-mine.csv').read_text() == 'not ours'


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no saved features: .*features.json'):
        FeatureSet.load(tmp_path)
    make().save(tmp_path)
    table = next(tmp_path.glob('*.csv'))
    table.write_text(table.read_text().replace('query', 'gallery'))
    with pytest.raises(ValueError, match='changed after it was saved'):
        FeatureSet.load(tmp_path)
    next(tmp_path.glob('*.safetensors')).write_bytes(b'12345678 no')
    with pytest.raises(ValueError, match='damaged'):
        FeatureSet.load(tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'features': torch.zeros(6, 5).double()}, 'float32 of shape'),
        ({'widths': {'cnn': 4}}, 'do not sum up to 5'),
        ({'widths': {'cnn': 6, 'transformer': -1}}, "width of 'transformer' must be .* got -1"),
        ({'widths': {'cnn': True, 'transformer': 4}}, "width of 'cnn' must be .* got True"),
        ({'protocol': ['Market-1501']}, 'the protocol must be a dict'),
        ({'widths': {'all': 5}}, "'all' means all features"),
        ({'img_paths': ['a.jpg']}, '1 img_paths for 6 features'),
        ({'roles': ['train'] * 6}, "role 'train' is neither"),
    ],
)
def test_bad_contents_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_protocol_is_plain_json(tmp_path):
    make(protocol={'sie': True, 'cameras': 6}).save(tmp_path)
    protocol = FeatureSet.load(tmp_path).protocol
    assert json.loads(json.dumps(protocol)) == {'sie': True, 'cameras': 6}


def test_paths_that_a_spreadsheet_would_run_come_back(tmp_path):
    paths = ['=cmd|calc', '+1', '-1', '@x', "'=x", "'quoted'"]
    make(img_paths=paths).save(tmp_path)
    (table,) = tmp_path.glob('*.csv')
    lines = table.read_text().splitlines()[1:]
    assert [line.split('"')[1] for line in lines] == [
        *("'=cmd|calc", "'+1", "'-1", "'@x", "''=x", "'quoted'")
    ]
    assert lines[1].split(',')[2] == '"-1"'  # a number, of a camera that is unknown
    assert FeatureSet.load(tmp_path).img_paths == paths
