"""Training by iteration that can be stopped after any step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.runner import IterBasedTrainLoop

from fusionreid.registry import LOOPS

from .interruption import Interruption, checkpoint_hook


@LOOPS.register_module()
class InterruptibleIterTrainLoop(Interruption, IterBasedTrainLoop):
    """MMEngine's loop, which on Ctrl-C or SIGTERM finishes the step, saves and ends.

    It saves ``iter_<n>.pth``, as MMEngine's checkpoint hook does. A resumed run loads the batches
    that are done once more and throws them away; it draws other random numbers.

    Arguments are those of MMEngine's ``IterBasedTrainLoop``.
    """

    def run_iter(self, data_batch: Any) -> None:
        """Take one step.

        Args:
            data_batch: The batch.
        """
        super().run_iter(data_batch)
        self.stop_if_asked()

    def save(self) -> Path:
        """Save the checkpoint of this iteration.

        Returns:
            The file.
        """
        hook, meta = checkpoint_hook(self.runner), dict(epoch=self._epoch, iter=self._iter)
        if hook is not None and not hook.by_epoch:
            # It counts what it keeps.
            hook._save_checkpoint_with_step(self.runner, self._iter, meta)
            return Path(hook.last_ckpt)
        name = f'iter_{self._iter}.pth'
        self.runner.save_checkpoint(
            self.runner.work_dir, name, meta=meta, backend_args=dict(backend='atomic_local')
        )
        return Path(self.runner.work_dir, name)

    def position(self) -> str:
        """Say where the training stands."""
        return f'after iteration {self._iter} of {self._max_iters}'
