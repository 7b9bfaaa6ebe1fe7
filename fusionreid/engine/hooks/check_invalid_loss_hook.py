"""When a training stops for a loss that is NaN or infinite, and what its message says."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.errors import InvalidLossError
from fusionreid.registry import HOOKS

NAMED_FILES = 4


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stops training at the first loss that is NaN or infinite.

    The message names the step, the features whose losses are not finite, and files of the batch;
    the log lists all of them. The hook runs before anything is saved or averaged, so that
    checkpoints stay as they were before the step. With several processes all stop at the same step.
    Infinite gradients, which the loss scaling of float16 skips as a matter of course, do not count.

    Every step is checked, by one number: the total, which is not finite if any of its terms is.
    MMEngine fetches all losses from the device in every step anyway, so this waits for nothing
    more; several processes exchange the one number.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check the losses of the step.

        Args:
            runner: The runner.
            batch_idx: Position of the batch in its epoch, from 0.
            data_batch: The batch, whose ``data_samples`` name their files.
            outputs: Losses by name, with ``loss``, their total.

        Raises:
            InvalidLossError: In every process, if the loss of one of them is not finite.
        """
        if not outputs or 'loss' not in outputs:
            return
        losses = {
            name: torch.as_tensor(value).detach()
            for name, value in outputs.items()
            if 'loss' in name
        }
        found = (~losses['loss'].isfinite()).float()
        all_reduce(found, 'max')
        if not found.item():
            return
        ours = {name: value.item() for name, value in losses.items() if not value.isfinite()}
        files = [
            sample.get('img_path', 'a file without a name')
            for sample in (data_batch or {}).get('data_samples') or []
        ]
        step = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}, batch {batch_idx + 1})'
        found = all_gather_object((describe(ours, files), files) if ours else None)
        for rank, part in enumerate(found):
            if part:  # by the first process, the only one with a log file
                runner.logger.error(
                    f'the loss of process {rank} at {step} is not finite; the files of its '
                    'batch:\n' + '\n'.join(part[1])
                )
        reports = [part and part[0] for part in found]
        raise InvalidLossError(
            f'the loss is not finite at {step}: '
            + '; '.join(
                report if len(reports) == 1 else f'in process {rank}, {report}'
                for rank, report in enumerate(reports)
                if report
            )
            + '. Earlier checkpoints are as they were: look at these files, or lower the learning '
            'rate, or train with --amp bf16 or --no-amp, and continue with --resume'
        )


def describe(losses: dict[str, float], files: list[str]) -> str:
    """Say which features and files are concerned.

    Args:
        losses: Losses that are not finite, by name: ``<feature>.<loss>``; and ``loss``, the
            total.
        files: Files of the batch.

    Returns:
        A part of a sentence.

    Example:
        >>> describe({'cnn.loss_id': float('nan'), 'loss': float('nan')}, ['a.jpg', 'b.jpg'])
        'loss_id of cnn is nan; the batch holds a.jpg, b.jpg'
    """
    terms = {name: value for name, value in losses.items() if name != 'loss'} or losses
    named = ', '.join(
        f'{loss} of {feature} is {value}' if loss else f'{feature} is {value}'
        for (feature, _, loss), value in ((name.partition('.'), terms[name]) for name in terms)
    )
    more = f' and {len(files) - NAMED_FILES} more, see the log' if len(files) > NAMED_FILES else ''
    return f'{named}; the batch holds {", ".join(files[:NAMED_FILES]) or "no named files"}{more}'
