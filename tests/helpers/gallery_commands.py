"""Calling the commands of a gallery: index, search and extract."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from tiny_runs import refused

from fusionreid.cli.main import run_command
from fusionreid.config import find_config
from fusionreid.registry import MODELS

# A model without weights.
HISTOGRAM = find_config('color_histogram_synthetic')


def call(command: str, *arguments: object) -> None:
    """Run a command, which succeeds."""
    assert run_command(command, [str(argument) for argument in arguments]) == 0


def failure(command: str, *arguments: object) -> str:
    """Run a command that fails; returns its one line."""
    message = refused(command, [str(argument) for argument in arguments])
    assert '\n' not in message
    return message


def table_rows(text: str) -> list[list[str]]:
    """The numbered lines of what a command printed, split into words."""
    return [line.split() for line in text.splitlines() if re.match(r' *\d+ ', line)]


def write_checkpoint(config: Path, path: Path) -> Path:
    """Write the weights of a config's model, untrained, as training writes them."""
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('fusionreid'):
        model = MODELS.build(cfg.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()), path)
    return path
