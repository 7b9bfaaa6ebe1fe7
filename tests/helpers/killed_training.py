"""A training with given scores that kills its own process at a chosen place."""

from __future__ import annotations

import builtins
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from warm_processes import warm_context

_SECONDS = 200


def train(run: Path, arguments: Sequence[str], scores: Sequence[float], place: str = '') -> int:
    """Train in a process of its own.

    Args:
        run: Folder of the training: ``w`` is its work dir, ``output`` what it printed, ``scored``
            the epochs that were scored, one a line.
        arguments: Arguments of ``fusionreid train``; the first is the config.
        scores: The mAP of each epoch.
        place: Where to die, ``<moment>:<epoch>``; see :func:`_killed_at`.

    Returns:
        The exit status, negative for a signal.
    """
    run.mkdir(exist_ok=True)
    process = warm_context().Process(
        target=_train, args=(run, list(arguments), list(scores), place)
    )
    process.start()
    process.join(_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f'training takes more than {_SECONDS} s')
    return process.exitcode


def _train(run: Path, arguments: list[str], scores: list[float], place: str) -> None:
    from mmengine.evaluator import Evaluator
    from mmengine.runner import ValLoop

    from fusionreid.cli.main import run_command

    with (run / 'output').open('w') as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    evaluate, validate = Evaluator.evaluate, ValLoop.run
    epochs = [0]  # that of the last validation

    def begin(self: Any) -> Any:
        epochs.append(self.runner.epoch)
        return validate(self)

    def scored(self: Any, size: int) -> dict[str, float]:
        found = evaluate(self, size)
        found['reid/mAP'] = scores[epochs[-1] - 1]
        with (run / 'scored').open('a') as file:
            file.write(f'{epochs[-1]}\n')
        return found

    Evaluator.evaluate, ValLoop.run = scored, begin
    if place:
        moment, _, epoch = place.partition(':')
        _killed_at(moment, int(epoch), epochs)
    sys.exit(run_command('train', [arguments[0], '--work-dir', str(run / 'w'), *arguments[1:]]))


def _killed_at(moment: str, epoch: int, epochs: list[int]) -> None:
    """Arrange for SIGKILL: at a moment of the validation of an epoch."""
    from mmengine.hooks import CheckpointHook
    from mmengine.runner import ValLoop

    best = f'best_reid_mAP_epoch_{epoch}.pth'
    checkpoint = f'epoch_{epoch}.pth'
    owner, name, condition = {
        'before validation': (ValLoop, 'run', lambda loop: loop.runner.epoch == epoch),
        'in validation': (ValLoop, 'run_iter', lambda *_: epochs[-1] == epoch),
        'before the best': (
            CheckpointHook,
            '_save_best_checkpoint',
            lambda *_: epochs[-1] == epoch,
        ),
        'in the best': (os, 'replace', lambda _, target, **__: Path(target).name == best),
        'before the scores': (
            os,
            'replace',
            lambda _, target, **__: Path(target).name == checkpoint and epochs[-1] == epoch,
        ),
        'before the record': (
            builtins,
            'open',
            lambda file, *_, **__: (
                Path(str(file)).name == 'last_checkpoint' and epochs[-1] == epoch
            ),
        ),
        'before the removal': (
            Path,
            'unlink',
            lambda path, *_, **__: (
                path.name.startswith('best_') and path.suffix == '.pth' and epochs[-1] == epoch
            ),
        ),
    }[moment]
    _kill_before(owner, name, condition)


def _kill_before(owner: Any, name: str, condition: Callable[..., bool]) -> None:
    original = getattr(owner, name)

    def killing(*args: Any, **kwargs: Any) -> Any:
        if condition(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, killing)
