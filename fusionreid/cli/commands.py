"""All commands, in the groups and the order of ``fusionreid --help``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Its module is imported when the command is called, so that the help needs no torch. The
    docstring of the module is shown as the help of the command. The module has these functions:

    - ``add_arguments(parser)`` adds the arguments to the :class:`argparse.ArgumentParser`.
    - ``check_arguments(args, parser)``, where there is one, checks what argparse cannot, calls
      ``parser.error`` if arguments do not go together, and fills in what follows from others.
    - ``run(args)`` does the work. It returns None or an exit status, and raises a
      :class:`~fusionreid.errors.UserError` for what a person can mend.

    Args:
        name: What is typed after ``fusionreid``: one word, or two.
        module: Name of the module, below ``fusionreid.cli``.
        summary: What the command does, in one line of the help.

    Example:
        >>> command = COMMANDS['benchmark gallery']
        >>> command.module, command.summary
        ('benchmarks.gallery', 'engines of a gallery')
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
        Command('doctor', 'doctor', 'describe this installation: versions, devices, packages'),
        Command('completion', 'completion', 'complete commands and options in bash or zsh'),
    ),
    'Train and score': (
        Command('train', 'train', 'train a model'),
        Command('test', 'test', 'score a checkpoint, or saved features'),
        Command('sweep', 'sweep', 'train with many settings, and keep the best'),
        Command('render', 'render', 'render a synthetic data set'),
        Command('render-video', 'render_video', 'render videos of a street, with ground truth'),
        Command('unpack-cuhk03', 'unpack_cuhk03', 'write the images in cuhk-03.mat as files'),
        Command('check-dataset', 'check_dataset', 'check every image and label of a data set'),
    ),
    'Find people': (
        Command('index', 'index', 'make a searchable index of images'),
        Command('index add', 'index_add', 'add images to an index'),
        Command('index remove', 'index_remove', 'remove images from an index'),
        Command('index merge', 'index_merge', 'add what other indexes hold to an index'),
        Command('gallery copy', 'gallery_copy', 'copy an index to another engine or database'),
        Command('gallery prune', 'gallery_prune', 'remove from an index what is too old'),
        Command('video', 'video', 'make a searchable index of who passes through videos'),
        Command('search', 'search', 'find people in an index'),
        Command('serve', 'serve', 'search an index on a page in the browser, and over HTTP'),
        Command('group', 'group', 'group photos into people'),
        Command('extract', 'extract', 'save the features of a folder of images'),
        Command('fit-projection', 'fit_projection', 'make the features of a model narrower'),
        Command('calibrate', 'calibrate', 'measure how often strangers are as near as a distance'),
    ),
    'Understand a model': (
        Command('analyze', 'analyze', 'which distance means the same person; camera pairs'),
        Command('compare', 'compare', 'score every feature of a model'),
        Command('rank-lists', 'rank_lists', 'draw queries with the images found for them'),
        Command('project', 'project', 'draw features in a plane: t-SNE, UMAP or PCA'),
        Command('curves', 'curves', 'draw losses and scores of training runs'),
        Command('ablate', 'ablate', 'train the branches alone and their fusion, and compare them'),
        Command('distill', 'distill', 'train students with a teacher and alone, and compare them'),
        Command('ablation-curves', 'ablation_curves', 'draw scores against L, d, k1 or k2'),
        Command('ablation-pareto', 'ablation_pareto', 'draw mAP against multiply-adds and latency'),
        Command('explain', 'explain', 'draw which pixels matter, and what tokens attend to'),
        Command('score-maps', 'score_maps', 'how much of each relevance map lies on the person'),
        Command('complexity', 'complexity', 'count parameters and multiply-adds'),
    ),
    'Weights': (
        Command('inspect', 'inspect', 'say what a weight file is'),
        Command('verify', 'verify', 'verify an index, features, an exported model or a checkpoint'),
        Command('convert', 'convert', "convert weights of the authors' released code"),
        Command(
            'convert-to-release', 'convert_to_release', "convert weights for the authors' code"
        ),
    ),
    'Take a model out': (
        Command('export', 'export', 'export a model to ONNX, OpenVINO, TorchScript or TensorRT'),
    ),
    'Measure speed': (
        Command('benchmark report', 'benchmarks.report', 'all of it on this machine, as a page'),
        Command('benchmark compare-reports', 'benchmarks.compare_reports', 'two such reports'),
        Command('benchmark exactness', 'benchmarks.exactness', 'how exact a device computes'),
        Command('benchmark train', 'benchmarks.train', 'training steps of a model'),
        Command('benchmark extract', 'benchmarks.extract', 'feature extraction of a model'),
        Command('benchmark runtimes', 'benchmarks.runtimes', 'runtimes of exported models'),
        Command('benchmark dataloader', 'benchmarks.dataloader', 'reading and augmenting images'),
        Command('benchmark ranking', 'benchmarks.ranking', 'ranking and its scores'),
        Command('benchmark reranking', 'benchmarks.reranking', 'k-reciprocal re-ranking'),
        Command('benchmark gallery', 'benchmarks.gallery', 'engines of a gallery'),
        Command('benchmark serve', 'benchmarks.serve', 'searches that a server answers'),
    ),
}
COMMANDS = {command.name: command for commands in GROUPS.values() for command in commands}
