"""Draws the speeds of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusionreid.visualization import SpeedBar, draw_speed_chart, save_picture

from .report_file import Report, StepResult

PANELS = {'benchmark train': 'Training', 'benchmark extract': 'Extraction'}


def draw_picture(report: Report, path: Path) -> list[dict[str, Any]]:
    """Draw where the time of training and extraction goes.

    Args:
        report: The report.
        path: The picture; it is not made if nothing of the kind was measured.

    Returns:
        For each bar its speed, as a step gives its records.
    """
    found = {
        title: [
            (step, record)
            for step in report.steps
            if step.argv[0] == command
            for record in step.records
        ]
        for command, title in PANELS.items()
    }
    records = [record for pairs in found.values() for _, record in pairs]
    if records:
        panels = {title: [_bar(*pair) for pair in pairs] for title, pairs in found.items()}
        commit = f'commit {report.commit}' if report.commit else f'version {report.version}'
        protocol = f'{report.computer}, PyTorch {report.torch}, {commit}, {report.date}'
        figure = draw_speed_chart(panels, f'{records[0]["config"]}: where the time goes', protocol)
        save_picture(figure, path)
    return [dict(images_per_s=record['images_per_s']) for record in records]


def _bar(step: StepResult, record: dict[str, Any]) -> SpeedBar:
    times, batch = record['ms_per_step'], record['batch_size']
    note = f'{record["images_per_s"]:.4g} images/s, {record["share_of_ceiling"]:.0%} of the ceiling'
    name = step.title.partition(', ')[2]
    return SpeedBar(name, {phase: value / batch for phase, value in times.items()}, note)
