"""What runs on a GPU keeps its tensors together: checked without one, on a simulated device."""

import json
from pathlib import Path

import pytest
from torch.utils import backend_registration
from warm_processes import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(backend_registration, '_setup_privateuseone_for_python_backend'),
        reason='this PyTorch cannot register a device that is written in Python',
    ),
]
SCRIPT = Path(__file__).parent / 'helpers' / 'simulated_device_checks.py'
CHECKS = (
    'the_device_complains',
    'ranking',
    'ranking_with_ties_and_labels_on_the_device',
    'ranking_without_memory_for_all_rows',
    'given_distances',
    'reranking',
    'query_expansion_and_search',
    'verification_and_camera_pairs',
    'spread_of_scores',
    'metric_that_leaves_features_on_the_device',
    'features_and_training',
    'mirrored_test_images_and_channels_last',
)


@pytest.fixture(scope='module')
def outcome(tmp_path_factory):
    file = tmp_path_factory.mktemp('simulated') / 'outcome.json'
    printed = file.with_name('printed.txt')
    run([SCRIPT, file], printed, timeout=300)
    assert file.is_file(), printed.read_text()[-4000:]
    return json.loads(file.read_text())


def test_every_check_is_listed(outcome):
    assert list(outcome) == list(CHECKS)


@pytest.mark.parametrize('name', CHECKS)
def test_as_on_the_cpu(outcome, name):
    assert outcome[name] == ''
