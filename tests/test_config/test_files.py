from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from tiny_runs import ROOT

import fusionreid
from fusionreid.config import (
    config_folder,
    config_metadata,
    find_config,
    packaged_configs,
    read_config,
)
from fusionreid.config.files import OTHERS
from fusionreid.errors import ConfigError, DatasetError

NAME = 'fusionreid_vitb_r50_msmt17'
R50 = ROOT / 'configs' / 'baselines' / 'r50_msmt17.py'


def test_every_config_is_found_by_its_name_and_no_two_have_the_same():
    root = ROOT / 'configs'
    paths = {path for path in root.rglob('*.py') if OTHERS.isdisjoint(path.relative_to(root).parts)}
    assert [stem for stem, count in Counter(path.stem for path in paths).items() if count > 1] == []
    found = packaged_configs()
    assert set(found.values()) == paths
    assert all(path.stem == name for name, path in found.items())
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    'name',
    ['r50_msmt17', 'r50_msmt17.py', 'baselines/r50_msmt17', 'configs/baselines/r50_msmt17.py'],
)
def test_a_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == R50
    assert find_config(Path(name)) == R50


def test_a_path_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / 'r50_msmt17.py'
    own.write_text('a = 1\n')
    assert find_config('r50_msmt17.py') == Path('r50_msmt17.py')
    assert read_config('r50_msmt17.py').to_dict() == {'a': 1}
    assert find_config(str(own)) == own
    # Neither a file without .py of another name, nor a folder: runs lie in folders of this name.
    assert find_config('r50_msmt17') == R50
    (tmp_path / 'vitb_msmt17').mkdir()
    assert find_config('vitb_msmt17') == R50.parent / 'vitb_msmt17.py'


@pytest.mark.parametrize(
    'name',
    [
        'ablations/r50_msmt17',  # it is in another folder
        'configs/r50_msmt17.py',
        '/elsewhere/baselines/r50_msmt17.py',
        'r50_msmt17.yml',
        'R50_msmt17',
    ],
)
def test_what_is_close_to_a_name_is_an_error_that_shows_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pattern = rf"no config file '{re.escape(name)}'.*close to it: .*\br50_msmt17\b"
    with pytest.raises(ConfigError, match=pattern):
        find_config(name)


def test_a_name_that_is_close_to_none(tmp_path):
    with pytest.raises(ConfigError, match='fusionreid configs lists them') as error:
        find_config(tmp_path / 'zzz.py')
    assert 'close to it' not in str(error.value)
    assert str(tmp_path / 'zzz.py') in str(error.value)
    with pytest.raises(ConfigError):
        find_config('')


def test_building_blocks_are_no_configs():
    with pytest.raises(ConfigError):
        find_config('default_runtime')


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """A package without a checkout around it, as a wheel installs it."""
    package = tmp_path / 'site-packages' / 'fusionreid'
    folder = package / '.mim' / 'configs'
    (folder / 'baselines').mkdir(parents=True)
    (folder / '_base_').mkdir()
    (folder / '_base_' / 'block.py').write_text('a = 1\n')
    (folder / 'one.py').write_text("_base_ = './_base_/block.py'\n")
    (folder / 'baselines' / 'two.py').write_text("_base_ = '../one.py'\nb = 2\n")
    (folder / 'metafile.yml').write_text('Models:\n  - Name: one\n')
    (folder / 'baselines' / 'metafile.yml').write_text('Models:\n  - Name: two\n')
    (package / '.mim' / 'model-index.yml').write_text(
        'Import:\n  - configs/baselines/metafile.yml\n  - configs/metafile.yml\n'
    )
    monkeypatch.setattr(fusionreid, '__file__', str(package / '__init__.py'))
    return folder


def test_an_installed_package_brings_its_own(installed):
    assert config_folder() == installed
    assert packaged_configs() == {
        'one': installed / 'one.py',
        'two': installed / 'baselines' / 'two.py',
    }
    assert read_config('baselines/two').to_dict() == {'a': 1, 'b': 2}
    # Beside configs in site-packages that are of no one we know.
    (installed.parents[2] / 'configs').mkdir()
    assert config_folder() == installed


def test_metadata_of_all_metafiles_in_the_order_of_the_index(installed):
    assert list(config_metadata()) == ['two', 'one']


def test_a_checkout_uses_its_own():
    assert config_folder() == ROOT / 'configs'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(\n', 'SyntaxError'),
        ("_base_ = './nobody.py'\n", 'FileNotFoundError'),
        ('1 / 0\n', 'ZeroDivisionError: division by zero'),
    ],
)
def test_a_config_that_cannot_be_read_is_named(text, message, tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf'broken\.py is no valid config \({message}') as error:
        read_config(path)
    assert '\n' not in str(error.value)


def test_a_mistake_that_a_config_tells_itself_is_kept(tmp_path):
    path = tmp_path / 'picky.py'
    path.write_text(
        '_base_ = []\nimport fusionreid.errors\nraise fusionreid.errors.DatasetError("no people")\n'
    )
    with pytest.raises(DatasetError, match='^no people$'):
        read_config(path)
