import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import mmengine
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Names under which distributions are imported, where they differ from the distribution's.
IMPORT_NAMES = {
    'markdown-it-py': 'markdown_it',
    'mmcv-lite': 'mmcv',
    'opencv-python': 'cv2',
    'pillow': 'PIL',
    'pytest-cov': 'pytest_cov',
    'pyyaml': 'yaml',
    'scikit-learn': 'sklearn',
}
# Needed at run time, but not by an import of ours.
NOT_IMPORTED = {
    'tensorboard',  # by the configs' TensorboardVisBackend
    'setuptools',  # by mmengine, for pkg_resources and distutils
    'timm',  # by mmpretrain's TIMMBackbone
    'torchvision',  # by timm; listed so that it fits torch
}


def required(name: str) -> dict[str, str]:
    """Import name to requirement line."""
    found = {}
    for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines():
        line = line.split('#')[0].strip()
        if line:
            distribution = re.match(r'[A-Za-z0-9._-]+', line)[0].lower()
            found[IMPORT_NAMES.get(distribution, distribution)] = line
    return found


def third_party_imports(folder: Path) -> dict[str, str]:
    """Top-level module imported in a folder to one of the files that do."""
    found = {}
    for path in folder.rglob('*.py'):
        # A script may import its neighbors.
        own = {'fusionreid'} | {other.stem for other in path.parent.glob('*.py')}
        own |= {path.stem for path in (ROOT / 'tests').iterdir()}
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            else:
                continue
            for name in names:
                top = name.split('.')[0]
                if top not in sys.stdlib_module_names | own:
                    found[top] = str(path.relative_to(ROOT))
    return found


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """A wheel built from a copy of the sources that holds leftovers of an earlier build."""
    source = tmp_path_factory.mktemp('source') / 'tree'
    out = tmp_path_factory.mktemp('wheel')
    source.mkdir()
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in ('fusionreid', 'configs', 'tools', 'requirements'):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, source / name)
    stale = source / 'build' / 'lib' / 'fusionreid' / '.mim' / 'configs' / 'gone.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    pip = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation']
    built = subprocess.run(
        [*pip, '--wheel-dir', out, source], capture_output=True, text=True, timeout=120
    )
    assert built.returncode == 0, built.stderr
    assert not (source / 'fusionreid' / '.mim').exists()
    (file,) = out.glob('fusionreid-*.whl')
    with zipfile.ZipFile(file) as archive:
        yield archive


def files_of(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts and '.mim' not in path.parts
    }


def test_wheel_holds_package_configs_and_tools(wheel):
    names = set(wheel.namelist())
    modules = {name for name in files_of('fusionreid') if name.endswith('.py')}
    assert 'fusionreid/registry.py' in modules
    assert modules <= names

    mim = {f'fusionreid/.mim/{name}' for name in files_of('configs') | files_of('tools')}
    mim.add('fusionreid/.mim/model-index.yml')
    assert 'fusionreid/.mim/tools/dist_train.sh' in mim
    assert {name for name in names if '/.mim/' in name} == mim
    assert {name.split('/')[0].split('-')[0] for name in names} == {'fusionreid'}


def test_wheel_metadata_states_version_licence_and_requirements(wheel):
    (metadata_file,) = (name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    metadata = wheel.read(metadata_file).decode()
    version = re.search(r"'(.+)'", (ROOT / 'fusionreid' / 'version.py').read_text())[1]
    assert f'\nVersion: {version}\n' in metadata
    assert '\nLicense-Expression: Apache-2.0\n' in metadata
    assert '\nRequires-Python: >=3.10\n' in metadata
    distributions = {
        re.match(r'[A-Za-z0-9._-]+', line)[0]
        for line in re.findall(r'^Requires-Dist: (.+)$', metadata, re.MULTILINE)
        if 'extra ==' not in line
    }
    assert {IMPORT_NAMES.get(name, name) for name in distributions} == set(required('runtime'))
    assert set(re.findall(r'^Provides-Extra: (.+)$', metadata, re.MULTILINE)) == {
        'all',
        'optional',
        'tests',
    }


def test_every_runtime_import_is_required_and_used():
    imports = third_party_imports(ROOT / 'fusionreid') | third_party_imports(ROOT / 'tools')
    runtime = set(required('runtime'))
    optional = set(required('optional'))
    undeclared = {name: file for name, file in imports.items() if name not in runtime | optional}
    assert not undeclared, f'imported, but in no requirements file: {undeclared}'
    assert runtime - NOT_IMPORTED <= set(imports), 'required at run time, but never imported'


def test_every_test_import_is_required():
    imports = third_party_imports(ROOT / 'tests')
    declared = set(required('runtime')) | set(required('tests'))
    undeclared = {name: file for name, file in imports.items() if name not in declared}
    assert not undeclared, f'imported by tests, but in no requirements file: {undeclared}'


def test_requirements_name_no_host():
    for path in [ROOT / 'requirements.txt', *(ROOT / 'requirements').glob('*.txt')]:
        text = path.read_text()
        assert '://' not in text and '--index' not in text and '--find-links' not in text


def test_model_index_lists_the_published_configs():
    (metafile,) = mmengine.load(ROOT / 'model-index.yml')['Import']
    meta = mmengine.load(ROOT / metafile)
    collections = {collection['Name'] for collection in meta['Collections']}
    listed = {model['Config'] for model in meta['Models']}
    assert listed <= {path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').glob('*.py')}
    # Four rows on each of three data sets, fifteen combinations on MSMT17; one is both.
    assert len(listed) == len(meta['Models']) == 4 * 3 + 15 - 1
    for data in ('msmt17', 'market1501', 'dukemtmc'):
        for suffix in ('', '_s16', '_384x128', '_s16_384x128'):
            assert f'configs/fusionreid_vitb_r50_{data}{suffix}.py' in listed
    for model in meta['Models']:
        assert model['Config'] == f'configs/{model["Name"]}.py'
        assert model['In Collection'] in collections
        assert model['Metadata']['Numbers'] == 'published' and 'Weights' not in model
        for result in model['Results']:
            assert 0 < result['Metrics']['mAP'] < result['Metrics']['Rank-1'] < 100


def test_citation_states_the_version_of_the_package():
    citation = mmengine.load(ROOT / 'CITATION.cff', file_format='yaml')
    version = re.search(r"'(.+)'", (ROOT / 'fusionreid' / 'version.py').read_text())[1]
    assert citation['version'] == version
    assert citation['license'] == 'Apache-2.0'
    assert '2412.17239' in citation['preferred-citation']['url']
