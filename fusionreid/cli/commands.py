"""All commands, in the groups and the order of ``fusionreid --help``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Its module is imported when it is called, so that the help needs no torch. The module has a
    docstring (shown as its help), ``add_arguments(parser)``, where needed
    ``check_arguments(args, parser)`` for what argparse cannot check, and ``run(args)``, which
    returns None or an exit status and raises a :class:`~fusionreid.errors.UserError` for what a
    person can mend.

    Args:
        name: What is typed.
        module: Where it is, below ``fusionreid.cli``.
        summary: What it does, in one line of the help.
    """

    name: str
    module: str
    summary: str

    def load(self) -> ModuleType:
        """Import the module of the command."""
        return importlib.import_module(f'{__package__}.{self.module}')


GROUPS: dict[str, tuple[Command, ...]] = {
    'Start': (
        Command('quickstart', 'quickstart', 'render people, train small models on a CPU, draw'),
        Command('configs', 'configs', 'list the configs of the package'),
    ),
    'Train and score': (
        Command('train', 'train', 'train a model'),
        Command('test', 'test', 'score a checkpoint, or saved features'),
        Command('render', 'render', 'render a synthetic data set'),
    ),
    'Find people': (
        Command('index', 'index', 'make a searchable index of a folder of images'),
        Command('search', 'search', 'find people in an index'),
        Command('extract', 'extract', 'save the features of a folder of images'),
    ),
    'Understand a model': (
        Command('analyze', 'analyze', 'which distance means the same person; camera pairs'),
        Command('compare', 'compare', 'score every feature of a model'),
        Command('rank-lists', 'rank_lists', 'draw queries with the images found for them'),
        Command('curves', 'curves', 'draw losses and scores of training runs'),
        Command('ablate', 'ablate', 'train the branches alone and their fusion, and compare them'),
        Command('complexity', 'complexity', 'count parameters and multiply-adds'),
    ),
    'Weights': (
        Command('inspect', 'inspect', 'say what a weight file is'),
        Command('convert', 'convert', "convert weights of the authors' released code"),
        Command(
            'convert-to-release', 'convert_to_release', "convert weights for the authors' code"
        ),
    ),
    'Measure speed': (
        Command('benchmark train', 'benchmarks.train', 'training steps of a model'),
        Command('benchmark extract', 'benchmarks.extract', 'feature extraction of a model'),
        Command('benchmark dataloader', 'benchmarks.dataloader', 'reading and augmenting images'),
        Command('benchmark ranking', 'benchmarks.ranking', 'ranking and its scores'),
        Command('benchmark reranking', 'benchmarks.reranking', 'k-reciprocal re-ranking'),
        Command('benchmark gallery', 'benchmarks.gallery', 'engines of a gallery'),
    ),
}
COMMANDS = {command.name: command for commands in GROUPS.values() for command in commands}
