"""Describe this installation, for a report of a problem: ``fusionreid doctor [--json]``.

Shows versions, which OpenMMLab packages are installed (upstream's or the forks), devices, and which
optional packages there are and what they enable. Ends with a line for each problem, and then with
status 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from joblib import cpu_count
from packaging.requirements import Requirement

from fusionreid.stack import STACKS, describe_mixture, find_distributions, find_stack
from fusionreid.utils.machine import memory_bytes, processor_name
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say_lines
from fusionreid.version import __version__

# Modules that most commands import; those with compiled parts may be installed and not load.
LOADED = ('torch', 'torchvision', 'cv2', 'mmcv', 'mmengine.runner', 'mmpretrain.models', 'timm')


@dataclass(frozen=True)
class Part:
    """A part of the package that needs more than the required packages.

    Args:
        enables: What works with it.
        packages: Distributions that it needs.
    """

    enables: str
    packages: tuple[str, ...]


OPTIONAL_PARTS = (
    Part('gallery engines faiss_flat, faiss_ivfpq', ('faiss-cpu',)),
    Part('gallery engine milvus', ('pymilvus', 'milvus-lite')),
    Part('gallery engine pgvector', ('psycopg', 'pgvector')),
    Part(
        'fusionreid serve',
        ('fastapi', 'starlette', 'anyio', 'pydantic', 'uvicorn', 'python-multipart'),
    ),
    Part('fusionreid group; project by t-SNE', ('scikit-learn', 'scipy')),
    Part('fusionreid project by UMAP', ('umap-learn',)),
    Part('loss MetricLoss', ('pytorch-metric-learning',)),
    Part('fusionreid sweep', ('optuna',)),
    Part('fusionreid unpack-cuhk03', ('h5py',)),
    Part('fusionreid export to ONNX', ('onnx', 'onnxscript')),
    Part('models in ONNX Runtime', ('onnxruntime',)),
    Part('fusionreid export to OpenVINO; its models', ('openvino',)),
    Part('fusionreid export --precision int8', ('nncf',)),
    Part('fusionreid export to TensorRT', ('tensorrt',)),
    Part('fusionreid completion', ('shtab',)),
    Part('features for BoxMOT', ('boxmot',)),
    Part('features for deep-sort-realtime', ('deep-sort-realtime',)),
    Part('WandbVisBackend', ('wandb',)),
    Part('MLflowVisBackend', ('mlflow',)),
    Part('ClearMLVisBackend', ('clearml',)),
    Part('AimVisBackend', ('aim',)),
    Part('DVCLiveVisBackend', ('dvclive',)),
)


@dataclass
class Installation:
    """What is installed here.

    Attributes:
        machine: Name to value: of this package, Python, the system and the devices.
        stack: ``'upstream'``, ``'onedl'``, ``'mixed'`` or ``'unknown'``.
        required: Required package to its version, None if it is missing.
        optional: What an optional part enables to its packages, each with its version or None.
        problems: What keeps commands from working, a line each.
    """

    machine: dict[str, str]
    stack: str
    required: dict[str, str | None] = field(default_factory=dict)
    optional: dict[str, dict[str, str | None]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('--json', action='store_true', help='print it as JSON')


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Find out what is installed, for a report of benchmarks.

    Yields:
        The attributes of an :class:`Installation`.
    """
    yield asdict(inspect_installation())


def run(args: argparse.Namespace) -> int:
    """Print what is installed; 1 if something is wrong with it, else 0."""
    found = inspect_installation()
    if args.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        say_lines(describe(found))
    return 1 if found.problems else 0


def inspect_installation() -> Installation:
    """Find out what is installed, and import what most commands need."""
    found = Installation(describe_machine(), find_stack())
    if mixture := describe_mixture():
        found.problems.append(mixture)
    for requirement in required_packages():
        name, version = installed_version(requirement.name)
        found.required[name] = version
        if version is None:
            found.problems.append(f'{requirement} is not installed: pip install "{requirement}"')
        elif not _is_fork(name) and not requirement.specifier.contains(version, prereleases=True):
            found.problems.append(
                f'{name} {version} does not suit, {requirement} is needed: '
                f'pip install "{requirement}"'
            )
    found.problems += import_problems()
    found.machine |= describe_devices()
    for part in OPTIONAL_PARTS:
        packages = found.optional.setdefault(part.enables, {})
        packages |= {name: version_of(name) for name in part.packages}
    return found


def describe_machine() -> dict[str, str]:
    """Name the versions of the package, Python and the system, and what computes."""
    memory = memory_bytes()
    return {
        'fusionreid': f'{__version__} in {os.path.dirname(os.path.dirname(__file__))}',
        'Python': f'{platform.python_version()} in {sys.executable}',
        'system': platform.platform(),
        'processor': f'{cpu_count()} cores of {processor_name()}',
        'memory': f'{memory / 2**30:.0f} GiB' if memory else 'unknown',
    }


def describe_devices() -> dict[str, str]:
    """Name what torch computes on; nothing if it cannot be imported."""
    torch = sys.modules.get('torch')
    if torch is None:
        return {}
    version = torch.version
    built_for = f'ROCm {version.hip}' if version.hip else f'CUDA {version.cuda}'
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = [f'{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)' for gpu in found]
    return {
        'torch built for': built_for if version.hip or version.cuda else 'CPU',
        'GPUs': ', '.join(names) or 'none that torch can use',
        'threads': str(torch.get_num_threads()),
    }


def required_packages() -> Iterator[Requirement]:
    """Read what the installed package requires; nothing where it was not installed by pip."""
    try:
        lines = metadata.requires('fusionreid') or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({'extra': ''}):
            yield requirement


def installed_version(name: str) -> tuple[str, str | None]:
    """Find a required package, or what stands in for it.

    Args:
        name: Name of the distribution.

    Returns:
        Name and version of what is installed: of OpenMMLab's packages it may be another
        distribution of the same modules. The version is None if there is none.

    Example:
        >>> installed_version('no-such-package')
        ('no-such-package', None)
    """
    version = version_of(name)
    for package, distributions in STACKS['upstream'].items():
        if version is None and name in distributions and (found := find_distributions(package)):
            other, _, version = found[0].partition(' ')
            return other, version
    return name, version


def version_of(name: str) -> str | None:
    """Return the version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_fork(name: str) -> bool:
    return any(name in names for names in STACKS['onedl'].values())


def import_problems() -> list[str]:
    """Import what most commands need, and say what fails."""
    problems = []
    for module in LOADED:
        try:
            importlib.import_module(module)
        # Compiled parts that do not fit each other raise what they like.
        except Exception as error:
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            problems.append(f'{module} cannot be imported ({reason:.200})')
    return problems


def describe(found: Installation) -> str:
    """Write an installation as text, for people and for reports."""
    machine = {**found.machine, 'OpenMMLab packages': found.stack}
    required = [(name, version or 'missing') for name, version in found.required.items()]
    optional = [
        (
            enables,
            'no' if None in packages.values() else 'yes',
            ', '.join(f'{name} {version or "(missing)"}' for name, version in packages.items()),
        )
        for enables, packages in found.optional.items()
    ]
    parts = [
        format_table(list(machine.items())),
        format_table([('required', 'installed'), *required], rule=True)
        if required
        else 'fusionreid was not installed by pip: what it requires was not compared',
        format_table([('optional part', 'usable', 'packages'), *optional], rule=True),
        '\n'.join(f'problem: {line}' for line in found.problems) or 'no problem found',
    ]
    return '\n\n'.join(parts)
