"""Which loops become interruptible, what signals do, and which samples are skipped."""

from __future__ import annotations

import copy
import os
import signal
import textwrap
import threading
from types import SimpleNamespace

import pytest
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.utils.data import DataLoader
from warm_processes import run

from fusionreid.datasets.samplers import PKSampler
from fusionreid.engine.loops import (
    InterruptibleIterTrainLoop,
    InterruptibleTrainLoop,
    interruptible_train_loop,
    make_interruptible,
)
from fusionreid.engine.stop_signals import StopSignals, WorkerShield


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (dict(by_epoch=True), InterruptibleTrainLoop),
        (dict(by_epoch=False), InterruptibleIterTrainLoop),
        (dict(type='EpochBasedTrainLoop'), InterruptibleTrainLoop),
        (dict(type='mmengine.IterBasedTrainLoop'), InterruptibleIterTrainLoop),
        (dict(type='MyLoop'), 'MyLoop'),
    ],
)
def test_the_loops_of_mmengine_become_interruptible(given, expected):
    runner = SimpleNamespace(_train_loop=dict(given, max_epochs=3))
    make_interruptible(runner)
    assert runner._train_loop == dict(type=expected, max_epochs=3)
    before = runner._train_loop
    make_interruptible(runner)
    assert runner._train_loop == before


def test_signals_are_noted_and_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.received == signal.SIGTERM
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_set_no_handlers():
    handler, seen = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=10)
    assert seen == [handler]


@pytest.mark.slow
def test_a_second_ctrl_c_kills(tmp_path):
    code = (
        'import os, signal\n'
        'from fusionreid.engine.stop_signals import StopSignals\n'
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'with StopSignals() as signals:\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    print(signals.received, flush=True)\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    print("alive", flush=True)\n'
    )
    assert run(['-c', code], tmp_path / 'printed.txt') == -signal.SIGINT
    assert (tmp_path / 'printed.txt').read_text().splitlines()[-1] == str(int(signal.SIGINT))


class Items:
    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[int, int]:
        return os.getpid(), index


def test_workers_live_through_the_first_signal():
    loader = DataLoader(Items(), batch_size=None, num_workers=1, multiprocessing_context='fork')
    shield = WorkerShield()
    shield.cover(loader)
    shielded = loader.worker_init_fn
    shield.cover(loader)
    assert loader.worker_init_fn is shielded
    items = iter(loader)
    worker, _ = next(items)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(int(worker), number)
    assert [int(index) for _, index in items] == list(range(1, 40))


def test_a_training_that_fails_does_not_wait_for_its_workers(tmp_path):
    """Python ends them by one SIGTERM at its end, and waits."""
    script = textwrap.dedent("""
        from torch.utils.data import DataLoader
        from fusionreid.engine.stop_signals import WorkerShield

        loader = DataLoader(list(range(99)), num_workers=1, multiprocessing_context='fork')
        shield = WorkerShield()
        shield.cover(loader)
        items = iter(loader)
        try:
            next(items)
            raise RuntimeError('the step failed')
        finally:
            shield.drop()
    """)
    assert run(['-c', script], tmp_path / 'printed.txt', timeout=120) == 1
    assert 'the step failed' in (tmp_path / 'printed.txt').read_text()


def test_skipped_samples_leave_the_others_as_they_are():
    class Labels(list):
        def get_data_info(self, index: int) -> dict[str, int]:
            return self[index]

    # Two identities with one image each are drawn with replacement: images come twice.
    labels = Labels(dict(person_id=number // 3) for number in range(13))
    sampler = PKSampler(labels, ids_per_batch=2, instances_per_id=4, seed=3)
    whole = [(index, index.augment_seed) for index in sampler]
    sampler.skip(8)
    assert [(index, index.augment_seed) for index in sampler] == whole[8:]
    assert len(sampler) == len(whole)
    sampler.set_epoch(0)
    assert [(index, index.augment_seed) for index in sampler] == whole


def test_the_buffers_of_an_average_are_those_of_the_process(monkeypatch):
    def state(value: float) -> SimpleNamespace:
        model = nn.BatchNorm1d(2)
        hook = EMAHook()
        hook.ema_model = ExponentialMovingAverage(model, update_buffers=True)
        for each in (model, hook.ema_model.module):
            each.running_mean.fill_(value)
        hook.ema_model.module.running_mean.add_(0.5)
        runner = SimpleNamespace(world_size=2, model=model, hooks=[hook], work_dir='.')
        loop = InterruptibleTrainLoop.__new__(InterruptibleTrainLoop)
        loop._runner, loop._epoch, loop._iter, loop._states = runner, 0, 4, None
        loop.dataloader = DataLoader(list(range(8)))
        loop.batches_done = 4
        return SimpleNamespace(loop=loop, runner=runner)

    saved: list[dict] = []

    def gather(own: dict) -> list[dict]:
        saved.append(copy.deepcopy(own))
        return saved

    monkeypatch.setattr(interruptible_train_loop, 'all_gather_object', gather)
    monkeypatch.setattr(interruptible_train_loop, 'is_main_process', lambda: False)
    for value in (1.0, 2.0):
        one = state(value)
        one.runner.save_checkpoint = lambda *args, **kwargs: None
        one.loop.save()
    other = state(0.0)
    other.runner.rank = 1
    other.loop.continue_epoch(dict(batches_done=4, processes=saved))
    assert [int(batch) for batch in other.loop._batches_left()] == [4, 5, 6, 7]
    assert other.runner.model.running_mean.tolist() == [2.0, 2.0]
    assert other.runner.hooks[0].ema_model.module.running_mean.tolist() == [2.5, 2.5]
