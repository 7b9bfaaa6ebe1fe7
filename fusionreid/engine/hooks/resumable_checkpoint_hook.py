"""Saves checkpoints so that a run killed at any moment ends with the files of an unbroken one."""

from __future__ import annotations

import re
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from fusionreid.registry import HOOKS

# The entry of MMEngine's message hub with the number of iterations after which was last scored.
_SCORED_KEY = 'scored_iter'


def validation_is_owed(runner: Runner) -> bool:
    """Say whether a resumed run stands before a validation that the run before did not finish.

    Args:
        runner: The runner, after resuming and before its first step.

    Returns:
        Whether the checkpoint is of an epoch (or iteration) after which the loop validates, and
        holds no scores of it. Of checkpoints that another hook saved this cannot be known; they
        count as not scored.
    """
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    done, total = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    # In the middle of an epoch, the validation of the one before is done.
    if runner.val_loop is None or done == 0 or getattr(loop, 'batches_done', 0):
        return False
    loop._decide_current_val_interval()
    due = done >= loop.val_begin and (done % loop.val_interval == 0 or done == total)
    return due and runner.message_hub.runtime_info.get(_SCORED_KEY) != loop.iter


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """MMEngine's hook, without the moments at which a killed run loses its best checkpoint.

    - The best checkpoint so far is removed after the new one and the checkpoint that names it are
      saved; MMEngine removes it first.
    - The checkpoint of an epoch is saved once more after its validation, whatever the score, so
      that it holds the scores. A run that is resumed from one without them validates first.
    - Files of earlier best checkpoints, which a killed run left, are removed when a run is resumed.

    Arguments are those of MMEngine's ``CheckpointHook``.
    """

    def before_train(self, runner: Runner) -> None:
        """Finish what a killed run left undone: its validation, and the removal of files.

        Args:
            runner: The runner, with its loops built.
        """
        super().before_train(runner)
        if not runner._resume:
            return
        # A file of this folder, see SafeCheckpointHook.
        self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')
        if self.last_ckpt and is_main_process():
            (Path(runner.work_dir) / 'last_checkpoint').write_text(self.last_ckpt)
        if validation_is_owed(runner):
            runner.logger.info(
                f'{runner._load_from} was saved before its validation, which comes first'
            )
            runner.val_loop.run()
        self._remove_superseded(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint, then the scores, then remove the best one so far.

        Args:
            runner: The runner.
            metrics: Scores by name.
        """
        runner.message_hub.update_info(_SCORED_KEY, runner.iter)
        before = self._best
        # MMEngine removes the file named here before it saves the new one.
        self._best = dict.fromkeys(before)
        super().after_val_epoch(runner, metrics)
        found = self._best
        self._best = {key: found[key] or path for key, path in before.items()}
        step = runner.epoch if self.by_epoch else runner.iter
        # Of a new best score MMEngine has saved it once more.
        if not any(found.values()) and self.last_ckpt is not None:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
            if self.last_ckpt == path:
                meta = dict(epoch=runner.epoch, iter=runner.iter)
                self._save_checkpoint_with_step(runner, step, meta)
        self._remove_superseded(runner)

    @property
    def _best(self) -> dict[str, str | None]:
        """The files of the best checkpoints, by score."""
        if self.save_best is None:
            return {}
        if len(self.key_indicators) == 1:
            return {'': self.best_ckpt_path}
        return dict.fromkeys(self.key_indicators) | self.best_ckpt_path_dict

    @_best.setter
    def _best(self, paths: dict[str, str | None]) -> None:
        if '' in paths:
            self.best_ckpt_path = paths['']
        elif paths:
            self.best_ckpt_path_dict = paths

    def _remove_superseded(self, runner: Runner) -> None:
        """Remove files in the folder of this run that were the best until a better one came."""
        if not is_main_process():
            return
        number = re.escape(self.filename_tmpl).replace(r'\{\}', r'(\d+)')
        step = runner.epoch if self.by_epoch else runner.iter
        for best in map(Path, filter(None, self._best.values())):
            name = re.fullmatch(f'(best_.+){number}', best.name)
            if name is None or best.parent != Path(self.out_dir) or not best.is_file():
                continue
            for path in sorted(best.parent.iterdir()):
                other = re.fullmatch(re.escape(name[1]) + number, path.name)
                if other and path != best and int(other[1]) <= step:
                    path.unlink()
                    runner.logger.info(f'The previous best checkpoint {path} is removed')
