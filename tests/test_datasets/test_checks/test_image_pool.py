"""Images are looked at in parallel, and none of them ends the check."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from image_trees import write_image

from fusionreid.datasets.checks import ImageFacts, inspect_images


def kill_some(path: str) -> ImageFacts:
    """Die as a process dies that has no more memory, where the name says so."""
    if 'killer' in path:
        os.kill(os.getpid(), signal.SIGKILL)
    return ImageFacts(content=path.encode())


def kill_once(path: str) -> ImageFacts:
    """Die once for all images."""
    mark = Path(path).parent / 'died'
    if path.endswith('20') and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return ImageFacts(content=path.encode())


@pytest.mark.parametrize('workers', [0, 2])
def test_every_image_is_looked_at_once(tmp_path: Path, workers: int) -> None:
    paths = [str(write_image(tmp_path / f'{number}.jpg', number)) for number in range(40)]
    found = list(inspect_images(paths, workers))
    assert sorted(position for position, _ in found) == list(range(40))
    assert len({facts.pixels for _, facts in found}) == 40


def test_an_image_that_kills_its_process_is_a_finding() -> None:
    paths = [f'killer{number}' if number in (3, 50) else str(number) for number in range(80)]
    found = dict(inspect_images(paths, 2, kill_some))
    assert sorted(found) == list(range(80))
    killed = [position for position, facts in found.items() if facts.findings]
    assert sorted(killed) == [3, 50]
    assert found[3].findings[0][0] == 'cannot be decoded'
    assert found[4].content == b'4'


def test_a_process_that_is_killed_by_chance_costs_no_image(tmp_path: Path) -> None:
    paths = [str(tmp_path / f'{number}') for number in range(40)]
    found = dict(inspect_images(paths, 2, kill_once))
    assert (tmp_path / 'died').exists()
    assert [found[position].content.decode() for position in range(40)] == paths
