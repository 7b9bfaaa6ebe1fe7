from __future__ import annotations

import fcntl
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault('MPLBACKEND', 'Agg')
sys.path.insert(0, str(Path(__file__).parent / 'helpers'))

import pytest  # noqa: E402
import quick_mmengine  # noqa: E402
import torch  # noqa: E402
from joblib import cpu_count  # noqa: E402
from memory import return_memory  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402

# A job in the background ignores Ctrl-C, and so would the trainings that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

quick_mmengine.make_quick()

# Imported by the tests, or run in processes of their own.
collect_ignore = ['data', 'helpers']


def pytest_xdist_auto_num_workers() -> int | None:
    """A worker for each core that the tests may use, which can be fewer than the machine has."""
    return None if 'PYTEST_XDIST_AUTO_NUM_WORKERS' in os.environ else cpu_count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that need most memory first, while the process is small."""
    items.sort(key=lambda item: 'test_golden' not in item.nodeid)


def pytest_collection_finish() -> None:
    """Leave what was imported out of the many garbage collections that MMEngine asks for."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='module')
def _nothing_is_left_behind() -> Iterator[None]:
    """Return the memory of a module's tests, and close the log files of its runs."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in [each for each in logger.handlers if isinstance(each, logging.FileHandler)]:
            logger.removeHandler(handler)
            handler.close()
    return_memory()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_large_test_at_a_time(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Let the workers wait for each other where two tests would need too much memory."""
    if not (request.node.get_closest_marker('large') and 'PYTEST_XDIST_WORKER' in os.environ):
        yield
        return
    with (tmp_path_factory.getbasetemp().parent / 'large.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope='session')
def postgres() -> Iterator[str]:
    """The URL of a database with pgvector; FUSIONREID_TEST_PG_URL names another one."""
    pytest.importorskip('psycopg')
    pytest.importorskip('pgvector')
    from postgres_server import shared_server

    with shared_server() as url:
        yield url


@pytest.fixture
def table(postgres: str) -> Iterator[str]:
    """Name of a table of the test's own, which is removed afterwards."""
    from postgres_server import drop, new_table

    name = new_table()
    yield name
    drop(postgres, name)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _default_scope() -> None:
    """Give every test the registry scope of our own configs, whatever others have set."""
    if not DefaultScope.check_instance_created('tests'):
        DefaultScope.get_instance('tests', scope_name='fusionreid')
    with DefaultScope.overwrite_default_scope('fusionreid'):
        yield
