"""What a report holds, and its file."""

from __future__ import annotations

import hashlib
import math
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fusionreid.errors import UserError
from fusionreid.utils.files import open_atomic
from fusionreid.utils.manifest import read_manifest, seal

FILE = 'report.json'
FORMAT = 'fusionreid report 1'
ADVICE = 'measure again with another --out'
SOURCE = Path(__file__).resolve().parents[4]
NOT_RUN = 'not run'


@dataclass
class StepResult:
    """A step of a report, and what came of it.

    Attributes:
        name: Its name.
        title: What it measures.
        argv: The command that measures it alone, as after ``fusionreid``; its name first.
        status: ``'not run'``, ``'done'``, ``'failed'``, ``'timed out'`` or ``'killed'``.
        seconds: How long it took.
        date: When it was done.
        reason: Why it is not done.
        records: What was measured.
        log: What it printed last, if it is not done.
    """

    name: str
    title: str
    argv: list[str]
    status: str = NOT_RUN
    seconds: float = 0.0
    date: str = ''
    reason: str = ''
    records: list[dict[str, Any]] = field(default_factory=list)
    log: str = ''

    @property
    def command(self) -> str:
        """The command that measures it alone."""
        return ' '.join(['fusionreid', *self.argv])

    @property
    def failed(self) -> bool:
        """Whether it was tried in vain."""
        return self.status not in (NOT_RUN, 'done')


@dataclass
class Report:
    """What was measured on a machine.

    Attributes:
        device: Where: ``'cpu'``, ``'cuda'`` or one of several GPUs.
        version: Of this package.
        commit: Of its repository; empty where it is installed from elsewhere.
        torch: Version of torch.
        processor: The processor's name.
        load: Processes that wanted a core in the minute before it was begun, for each core.
        date: When it was begun.
        steps: The steps, in their order.
    """

    device: str
    version: str
    commit: str
    torch: str
    processor: str
    load: float
    date: str
    steps: list[StepResult] = field(default_factory=list)

    @property
    def machine(self) -> dict[str, str]:
        """What ``fusionreid doctor`` says of the machine; nothing if that failed."""
        return self._doctor.get('machine', {})

    @property
    def problems(self) -> list[str]:
        """What ``fusionreid doctor`` says that is wrong with the installation."""
        return self._doctor.get('problems', [])

    @property
    def _doctor(self) -> dict[str, Any]:
        found = (step.records[0] for step in self.steps if step.name == 'machine' and step.records)
        return next(found, {})

    @property
    def computer(self) -> str:
        """The GPU or processor that was measured, in a few words."""
        key = 'processor' if self.device == 'cpu' else 'GPUs'
        return self.machine.get(key, f'an unknown {self.device}')

    def save(self, folder: Path) -> None:
        """Write it into its folder, whole or not at all."""
        with open_atomic(folder / FILE) as file:
            file.write(seal(_finite({'format': FORMAT, **asdict(self)})))


def load_report(folder: Path) -> Report:
    """Read the report of a folder.

    Args:
        folder: The folder, or the file in it.

    Returns:
        The report.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = folder if folder.is_file() else folder / FILE
    try:
        content = read_manifest(path, FORMAT, UserError, ADVICE)
    except FileNotFoundError as error:
        raise UserError(
            f'{folder} holds no {FILE}: name a folder of fusionreid benchmark report'
        ) from error
    del content['format']
    steps = [StepResult(**step) for step in content.pop('steps')]
    return Report(**content, steps=steps)


def describe_commit() -> str:
    """Name the commit of the code, and what was changed since; empty outside of a clone.

    Changes are named by the first digits of their checksum.
    """
    top = _git('rev-parse', '--show-toplevel')
    if not top or Path(top) != SOURCE:
        return ''
    changes = _git('diff', 'HEAD')
    mark = f'+{hashlib.sha256(changes.encode()).hexdigest()[:8]}' if changes else ''
    return _git('rev-parse', '--short=10', 'HEAD') + mark


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ['git', '-C', SOURCE, *arguments],
            capture_output=True,
            text=True,
            errors='replace',
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for by nothing."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
