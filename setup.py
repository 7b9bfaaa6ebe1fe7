"""Builds FusionReID; configs and tools travel inside the wheel, where `mim` looks for them."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What `mim train fusionreid <config>` and `mim search fusionreid` look up under `fusionreid/.mim`.
MIM_ENTRIES = ('configs', 'tools', 'model-index.yml')


def read_version() -> str:
    """Reads the version without importing the package, whose dependencies may not be there yet."""
    source = (ROOT / 'fusionreid' / 'version.py').read_text(encoding='utf-8')
    match = re.search(r"^__version__ = '([^']+)'$", source, re.MULTILINE)
    if match is None:
        raise RuntimeError("fusionreid/version.py must hold a line like __version__ = '1.2.3'")
    return match.group(1)


def read_requirements(name: str) -> list[str]:
    """Reads the requirement lines of `requirements/<name>.txt`, without their comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    stripped = (line.split('#', 1)[0].strip() for line in lines)
    return [line for line in stripped if line]


def read_long_description() -> str:
    """Reads the README, which an early source tree may not have yet."""
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.exists() else ''


class BuildPyWithMim(build_py):
    """Adds `fusionreid/.mim` to what is built; it is made in the build folder alone.

    An editable installation has none: `mim` looks in site-packages, where its files are not.
    """

    def run(self) -> None:
        """Build, then copy configs and tools."""
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib) / 'fusionreid' / '.mim'
        # A build folder may hold files of an earlier build that are gone from the sources.
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for entry in MIM_ENTRIES:
            source = ROOT / entry
            if source.is_dir():
                ignore = shutil.ignore_patterns('__pycache__', '*.py[cod]')
                shutil.copytree(source, mim / entry, ignore=ignore)
            else:
                shutil.copy2(source, mim)


runtime, optional, tests, checks, docs = map(
    read_requirements, ('runtime', 'optional', 'tests', 'checks', 'docs')
)

setup(
    name='fusionreid',
    version=read_version(),
    description='Person re-identification by unified convolutional and transformer features',
    long_description=read_long_description(),
    long_description_content_type='text/markdown',
    author='The FusionReID contributors',
    license_expression='Apache-2.0',
    license_files=['LICENSE'],
    keywords='person re-identification, image retrieval, computer vision, OpenMMLab',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=find_packages(include=['fusionreid', 'fusionreid.*']),
    package_data={'fusionreid': ['py.typed'], 'fusionreid.serving': ['static/*']},
    entry_points={'console_scripts': ['fusionreid = fusionreid.cli.main:main']},
    python_requires='>=3.10',
    install_requires=runtime,
    extras_require={
        'optional': optional,
        'tests': tests,
        'checks': checks,
        'docs': docs,
        'all': optional + tests + checks + docs,
    },
    cmdclass={'build_py': BuildPyWithMim},
    zip_safe=False,
)
