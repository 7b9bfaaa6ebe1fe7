import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*(ROOT / 'tools').glob('*.sh'), ROOT / '.ci' / 'run'])


def bash(*args, timeout=60, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )


def fake_program(folder: Path, name: str) -> Path:
    """A program that prints its arguments, one a line, and the Python path."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nprintf "PYTHONPATH=%s\\n" "$PYTHONPATH"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_syntax(script):
    checked = bash('-n', script)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ('script', 'arguments', 'usage'),
    [
        ('dist_train.sh', ['config.py'], 'CONFIG GPUS'),
        ('dist_train.sh', ['config.py', 'two'], 'CONFIG GPUS'),
        ('dist_train.sh', ['config.py', '0'], 'CONFIG GPUS'),
        ('dist_test.sh', ['config.py', '2'], 'CONFIG CHECKPOINT GPUS'),
        ('dist_test.sh', ['config.py', 'weights.pth', '--work-dir'], 'CONFIG CHECKPOINT GPUS'),
        ('slurm_train.sh', ['partition', 'job'], 'PARTITION JOB_NAME CONFIG'),
    ],
)
def test_wrong_arguments_get_a_usage_line(script, arguments, usage):
    run = bash(ROOT / 'tools' / script, *arguments, PYTHON='false')
    assert run.returncode == 2
    assert run.stderr.startswith('usage: ')
    assert usage in run.stderr


def test_dist_train_passes_arguments_unsplit(tmp_path):
    python = fake_program(tmp_path / 'bin', 'python')
    run = bash(
        ROOT / 'tools' / 'dist_train.sh',
        'my config.py',
        '2',
        '--work-dir',
        'my dir',
        PYTHON=str(python),
        PORT='29777',
        NNODES='3',
        NODE_RANK='1',
        MASTER_ADDR='10.0.0.1',
        PYTHONPATH='/else where',
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        '-m',
        'torch.distributed.run',
        '--nnodes=3',
        '--node-rank=1',
        '--master-addr=10.0.0.1',
        '--master-port=29777',
        '--nproc-per-node=2',
        f'{ROOT}/tools/train.py',
        'my config.py',
        '--launcher',
        'pytorch',
        '--work-dir',
        'my dir',
        f'PYTHONPATH={ROOT}/tools/..:/else where',
    ]


def test_dist_test_passes_arguments_unsplit(tmp_path):
    python = fake_program(tmp_path / 'bin', 'python')
    arguments = ['config.py', 'my weights.pth', '1', '--cfg-options', 'a=1']
    run = bash(ROOT / 'tools' / 'dist_test.sh', *arguments, PYTHON=str(python))
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-7:-1] == [
        'config.py',
        'my weights.pth',
        '--launcher',
        'pytorch',
        '--cfg-options',
        'a=1',
    ]


def test_slurm_train_asks_for_the_gpus(tmp_path):
    srun = fake_program(tmp_path / 'bin', 'srun')
    run = bash(
        ROOT / 'tools' / 'slurm_train.sh',
        'part',
        'my job',
        'config.py',
        '--amp',
        PATH=f'{srun.parent}:{os.environ["PATH"]}',
        GPUS='4',
        SRUN_ARGS='--quotatype=auto --nodes=1',
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[:2] == ['--partition=part', '--job-name=my job']
    assert {'--gres=gpu:4', '--ntasks=4', '--ntasks-per-node=4'} <= set(lines)
    assert {'--quotatype=auto', '--nodes=1'} <= set(lines)
    assert lines[-5:-1] == ['config.py', '--launcher', 'slurm', '--amp']


def test_slurm_train_fills_nodes_and_passes_the_port(tmp_path):
    srun = fake_program(tmp_path / 'bin', 'srun')
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "port $MASTER_PORT"\n')
    script = ROOT / 'tools' / 'slurm_train.sh'
    arguments = [script, 'part', 'job', 'config.py']
    environment = dict(PATH=f'{srun.parent}:{os.environ["PATH"]}', GPUS='16', PORT='29777')
    run = bash(*arguments, **environment, GPUS_PER_NODE='4')
    assert run.returncode == 0, run.stderr
    lines = set(run.stdout.splitlines())
    assert {'--nodes=4', '--ntasks=16', '--ntasks-per-node=4', '--gres=gpu:4'} <= lines
    assert 'port 29777' in lines

    run = bash(*arguments, **environment, GPUS_PER_NODE='5')
    assert run.returncode == 2
    assert 'GPUS=16 is not a multiple of GPUS_PER_NODE=5' in run.stderr
    run = bash(*arguments, **environment, GPUS_PER_NODE='0')
    assert run.returncode == 2
    assert run.stderr.startswith('usage: ')


@pytest.mark.parametrize('script', ['ensure_venv.sh', 'run_tests.sh'])
def test_help_explains_and_does_nothing(script):
    run = bash(ROOT / 'tools' / script, '--help')
    assert run.returncode == 0
    assert f'bash tools/{script}' in run.stdout
    assert '#' not in run.stdout


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The files that ensure_venv.sh reads, with requirements that need no download."""
    root = tmp_path / 'check out'
    (root / 'tools').mkdir(parents=True)
    for name in ('ensure_venv.sh', 'run_tests.sh'):
        shutil.copy(ROOT / 'tools' / name, root / 'tools')
    shutil.copytree(ROOT / 'requirements', root / 'requirements')
    for name in ('setup.py', 'pyproject.toml'):
        shutil.copy(ROOT / name, root)
    return root


def pretend_installed(root: Path) -> None:
    """Makes an environment that is complete in the eyes of ensure_venv.sh, without installing."""
    binaries = root / '.venv' / 'bin'
    binaries.mkdir(parents=True)
    python = binaries / 'python'
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (root / '.venv' / 'pyvenv.cfg').write_text('home = nowhere\n')
    stamp = root / '.venv' / '.fusionreid-installed-runtime'
    key = bash('-c', f'. "{root}/tools/ensure_venv.sh" && venv_key')
    assert key.returncode == 0, key.stderr
    stamp.write_text(key.stdout)
    shutil.copy(stamp, f'{stamp}-tests')


def test_complete_environment_is_reused_silently(checkout):
    pretend_installed(checkout)
    script = f'. "{checkout}/tools/ensure_venv.sh" && ensure_venv tests && command -v python'
    run = bash('-c', script, TMPDIR=str(checkout))
    assert run.returncode == 0, run.stderr
    assert run.stdout == f'{checkout}/.venv/bin/python\n'


@pytest.mark.parametrize('change', ['requirements', 'interruption', 'python'])
def test_incomplete_environment_is_noticed(checkout, change):
    pretend_installed(checkout)
    if change == 'requirements':
        with open(checkout / 'requirements' / 'tests.txt', 'a') as file:
            file.write('more\n')
    elif change == 'interruption':
        (checkout / '.venv' / '.fusionreid-unfinished').touch()
    else:
        (checkout / '.venv' / 'bin' / 'python').unlink()
    # Stands in for everything that would install.
    replaced = 'venv_create() { echo CREATE; }; venv_fill() { echo FILL "$@"; return 1; }'
    replaced += '; venv_forget_incomplete() { echo FORGET; }'
    script = f'. "{checkout}/tools/ensure_venv.sh"; {replaced}; ensure_venv tests'
    run = bash('-c', script, TMPDIR=str(checkout))
    assert run.returncode == 1
    assert 'FILL tests' in run.stdout
    assert ('CREATE' in run.stdout) == (change == 'python')
    assert ('FORGET' in run.stdout) == (change == 'interruption')


def test_half_copied_packages_are_forgotten(checkout, tmp_path):
    packages = tmp_path / 'site'
    for name, files in {'whole': ['INSTALLER', 'RECORD'], 'half': ['METADATA']}.items():
        info = packages / f'{name}-1.0.dist-info'
        info.mkdir(parents=True)
        for file in files:
            (info / file).touch()
    # A python that takes the folder above for its own site-packages.
    wrapper = tmp_path / 'python'
    patch = f"import sysconfig; sysconfig.get_path = lambda name: '{packages}'; "
    wrapper.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "{patch}import sys; exec(sys.stdin.read())"\n'
    )
    wrapper.chmod(0o755)
    script = f'. "{checkout}/tools/ensure_venv.sh"; VENV_PYTHON="{wrapper}"; venv_forget_incomplete'
    run = bash('-c', script)
    assert run.returncode == 0, run.stderr
    assert 'half-1.0' in run.stdout
    assert 'whole' not in run.stdout
    assert [path.name for path in packages.iterdir()] == ['whole-1.0.dist-info']


def test_no_suitable_python_is_a_clear_error(checkout, tmp_path):
    run = bash(
        checkout / 'tools' / 'run_tests.sh', PYTHON=str(tmp_path / 'none'), TMPDIR=str(tmp_path)
    )
    assert run.returncode == 1
    assert 'none is not a Python >= 3.10' in run.stderr
    assert 'run_tests: FAILED' in run.stderr
    assert not (checkout / '.venv').exists()


def test_unknown_requirements_are_refused(checkout):
    run = bash(checkout / 'tools' / 'ensure_venv.sh', 'testing', TMPDIR=str(checkout))
    assert run.returncode == 1
    assert "unknown requirements 'testing'" in run.stderr


@pytest.mark.parametrize(
    ('body', 'status', 'ending'),
    [
        ('assert True', 0, 'run_tests: passed'),
        ('assert False', 1, 'run_tests: FAILED (exit status 1)'),
    ],
)
@pytest.mark.slow
def test_run_tests_ends_with_what_was_done(checkout, body, status, ending):
    pretend_installed(checkout)
    (checkout / 'test_it.py').write_text(f'def test_it():\n    {body}\n')
    arguments = ['-p', 'no:cacheprovider', '-c', '/dev/null', '--rootdir', '.', 'test_it.py']
    run = bash(checkout / 'tools' / 'run_tests.sh', *arguments, TMPDIR=str(checkout))
    assert run.returncode == status, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == ending
