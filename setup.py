"""Builds FusionReID; configs and tools travel inside the wheel, where `mim` looks for them.

What the package is, and what it needs, is in `pyproject.toml`.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What `mim train fusionreid <config>` and `mim search fusionreid` look up under `fusionreid/.mim`.
MIM_ENTRIES = ('configs', 'tools', 'model-index.yml')


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


setup(cmdclass={'build_py': BuildPyWithMim})
