from __future__ import annotations

import re
from types import SimpleNamespace

from mmengine.logging import MessageHub

from fusionreid.engine.log_processors import HeadlineLogProcessor

FEATURES = ('cnn', 'transformer', 'cnn_fused', 'transformer_fused')
SCORES = ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')


def log(names: list[str]) -> tuple[dict, str]:
    """The scalars and the line of a test with these scores."""
    hub = MessageHub(f'headline {len(names)}')
    for number, name in enumerate(names):
        hub.update_scalar(f'test/{name}', float(number))
    hub.update_scalar('test/time', 0.5)
    loop = SimpleNamespace(dataloader=[None] * 48)
    runner = SimpleNamespace(
        message_hub=hub, test_dataloader=loop.dataloader, test_loop=loop, _train_loop=None
    )
    return HeadlineLogProcessor().get_log_after_epoch(runner, 48, 'test')


def test_the_line_has_the_headline_and_the_scalars_have_all():
    names = [
        f'{data}reid/{feature}{kind}{score}'
        for data in ('', 'Market-1501/')
        for feature in ('', *(f'{name}.' for name in FEATURES))
        for kind in ('', 'rerank.')
        for score in SCORES
    ]
    scalars, line = log(names)
    assert {*names, 'time'} <= scalars.keys()
    head, *items = re.split(' {2,}', line)
    assert head == 'Epoch(test) [48/48]'
    assert items[:2] == ['reid/mAP: 0.0000', 'reid/rank1: 1.0000']
    shown = [item.partition(':')[0] for item in items]
    assert shown == [
        *(
            f'{data}reid/{kind}{score}'
            for data in ('', 'Market-1501/')
            for kind in ('', 'rerank.')
            for score in SCORES
        ),
        'time',
    ]


def test_scores_of_another_metric_stay():
    _, line = log(['reid/mAP', 'reid/cnn.mAP', 'recall/at_0.5', 'loss.mean'])
    assert 'recall/at_0.5: 2.0' in line
    assert 'loss.mean: 3.0' in line
    assert 'cnn.mAP' not in line
