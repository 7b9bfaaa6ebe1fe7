"""Training by epochs that can be stopped after any step and continued as if it had not been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn

from fusionreid.checkpoints.run_files import interrupted_before, interrupted_name
from fusionreid.datasets.samplers import PKSampler
from fusionreid.registry import LOOPS

from ..random_state import get_random_state, set_random_state
from .interruption import Interruption, averaged_models, checkpoint_hook, unwrapped_model


@LOOPS.register_module()
class InterruptibleTrainLoop(Interruption, EpochBasedTrainLoop):
    """MMEngine's loop, which on Ctrl-C or SIGTERM finishes the step, saves and ends.

    The saved file, ``interrupted_after_epoch_<n>.pth``, is a checkpoint that also says how many
    batches of its epoch are done and in which state the generators and the buffers of every process
    are. A run that is resumed from it takes the steps that the uninterrupted one would have taken:
    on a CPU its weights are the same to the bit. Batches that are done are not loaded again if the
    sampler is a :class:`~fusionreid.datasets.samplers.PKSampler`; with another one they are loaded
    and thrown away. The file is removed once the run has saved a later checkpoint.

    Args:
        runner: The runner.
        dataloader: Loader of the training set, or its config.
        **kwargs: Further arguments of MMEngine's ``EpochBasedTrainLoop``.
    """

    def __init__(self, runner: Runner, dataloader: Any, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        # Of the epoch at work.
        self.batches_done = 0
        # What is left to restore of an interrupted epoch: the states of the processes.
        self._states: list[dict[str, Any]] | None = None

    def run_epoch(self) -> None:
        """Train for one epoch, or what is left of it."""
        self.stop_if_asked()
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index, batch in enumerate(self._batches_left(), self.batches_done):
            self.run_iter(index, batch)
            self.batches_done = index + 1
            self.stop_if_asked()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.batches_done = 0
        hook = checkpoint_hook(self.runner)
        name = hook and hook.filename_tmpl.format(self._epoch)
        if hook and hook.last_ckpt and Path(hook.last_ckpt).name == name:
            self._remove_interrupted()

    def continue_epoch(self, interrupted: dict[str, Any]) -> None:
        """Prepare to continue an epoch.

        Args:
            interrupted: What the checkpoint says, in ``meta['interrupted']``.
        """
        states = interrupted['processes']
        # The more processes, the fewer batches has an epoch.
        self.batches_done = interrupted['batches_done'] * len(states) // self.runner.world_size
        self._states = states if self.batches_done else None

    def save(self) -> Path:
        """Save the checkpoint of an epoch at work, or of one that is not scored yet.

        Returns:
            The file.
        """
        if self._states is not None:  # no step was taken since it was saved
            return Path(self.runner._load_from)
        own: dict[str, Any] = dict(random_state=get_random_state(), buffers={})
        if self.runner.world_size > 1:
            # Running statistics differ between the processes until the end of an epoch.
            own['buffers'] = _copy_buffers(unwrapped_model(self.runner))
            own['averaged_buffers'] = list(map(_copy_buffers, averaged_models(self.runner)))
        interrupted = dict(batches_done=self.batches_done, processes=all_gather_object(own))
        meta = dict(epoch=self._epoch, iter=self._iter, interrupted=interrupted)
        folder, name = self._folder(), interrupted_name(self._epoch)
        hook = checkpoint_hook(self.runner)
        backend_args = hook.backend_args if hook else dict(backend='atomic_local')
        self.runner.save_checkpoint(str(folder), name, meta=meta, backend_args=backend_args)
        self._remove_interrupted()
        return folder / name

    def position(self) -> str:
        """Say where the training stands."""
        if not self.batches_done:
            return f'after epoch {self._epoch}'
        return (
            f'in epoch {self._epoch + 1} after {self.batches_done} of {len(self.dataloader)} '
            'batches'
        )

    def _batches_left(self) -> Iterator[Any]:
        states, self._states = self._states, None
        if states is None:
            return iter(self.dataloader)
        sampler, size = self.dataloader.sampler, self.dataloader.batch_size
        if isinstance(sampler, PKSampler) and size is not None:
            sampler.skip(self.batches_done * size)
            batches = iter(self.dataloader)
        else:
            batches = iter(self.dataloader)
            for _ in range(self.batches_done):
                next(batches, None)
        if len(states) == self.runner.world_size:
            own = states[self.runner.rank]
            _set_buffers(unwrapped_model(self.runner), own['buffers'])
            averaged = own.get('averaged_buffers', [])  # earlier versions saved none
            for model, buffers in zip(averaged_models(self.runner), averaged, strict=False):
                _set_buffers(model, buffers)
            # Last, since the loader draws a number, too.
            set_random_state(own['random_state'])
        return batches

    def _folder(self) -> Path:
        hook = checkpoint_hook(self.runner)
        return Path(hook.out_dir if hook else self.runner.work_dir)

    def _remove_interrupted(self) -> None:
        if is_main_process():
            for path in interrupted_before(self._folder(), self._epoch):
                path.unlink()


def _copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in model.named_buffers()}


def _set_buffers(model: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, value in buffers.items():
        model.get_buffer(name).copy_(value)
