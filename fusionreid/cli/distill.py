"""Train students alone and with a teacher, with several seeds, and compare them with the teacher.

    fusionreid distill --seeds 0 1 2

A student is a config of the type FusionReIDDistiller, whose ``model.teacher.cfg`` names the config
of the teacher. For each seed the teacher is trained first. Called again, the command goes on where
it was stopped; finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from fusionreid.config import fill_in_counts, merge_options, read_config
from fusionreid.errors import ConfigError
from fusionreid.models import as_student, is_distiller
from fusionreid.utils.tables import markdown_table
from fusionreid.utils.terminal import say, say_lines

from .ablate import (
    Result,
    add_run_arguments,
    check_run_arguments,
    of_all,
    render,
    result_file,
    spread,
    train_and_score,
    write_configs,
)
from .command_runner import CommandRunner
from .complexity import as_figures, measure_config
from .runner_config import LOADERS

TEACHER = 'teacher'
ALONE = 'alone'
STUDENTS = tuple(
    f'{name}_synthetic_distilled' for name in ('r18', 'r50', 'mobilenetv4', 'tinyvit', 'mixnet')
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        '--students',
        nargs='+',
        default=list(STUDENTS),
        metavar='CONFIG',
        help='configs of students that have the same teacher (default: those for rendered people)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/distillation'),
        help='folder for runs, results and distillation.md (default: %(default)s)',
    )
    add_run_arguments(parser, 'the students')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    names = [Path(student).stem for student in args.students]
    check_run_arguments(args, parser, '--students', names)


def build_configs(args: argparse.Namespace) -> dict[str, Config]:
    """Build the configs of all models that are trained.

    Args:
        args: Arguments of the command.

    Returns:
        The teacher's config, then of each student that without and that with the teacher, by name;
        complete but for the seeds, the folders of the runs and the teacher's checkpoints.

    Raises:
        ConfigError: If a config is none of a student, trains without epochs, or two have other
            teachers.
    """
    configs: dict[str, Config] = {}
    teacher = None
    for student in args.students:
        cfg = read_config(student)
        merge_options(cfg, args.cfg_options)
        if not is_distiller(cfg.get('model') or {}):
            raise ConfigError(f'{student} is no student: its model must be a FusionReIDDistiller')
        own = cfg.model.teacher.get('cfg')
        if not isinstance(own, str) or teacher not in (None, own):
            raise ConfigError(
                f'{student} has the teacher {own!r:.80}, expected the name of the config that all '
                f'students have: {teacher or "a text"}'
            )
        teacher = own
        alone = cfg.copy()
        alone.model = as_student(cfg.model)
        configs.setdefault(TEACHER, read_config(own))
        configs |= {f'{Path(student).stem}_{ALONE}': alone, Path(student).stem: cfg}
    for name, cfg in configs.items():
        if not (cfg.get('train_cfg') or {}).get('max_epochs'):
            raise ConfigError(f'the config of {name} must have train_cfg.max_epochs')
        if args.data_root is not None:
            cfg.merge_from_dict({f'{part}.dataset.data_root': args.data_root for part in LOADERS})
        if args.epochs is not None:
            cfg.train_cfg.max_epochs = args.epochs
        fill_in_counts(cfg)
    return configs


def _learn(
    name: str, seed: int, configs: dict[str, Config], out: Path, runner: CommandRunner
) -> None:
    """Do one run; a student with a teacher has that of its seed."""
    overrides = []
    if is_distiller(configs[name].model):
        last = f'epoch_{configs[TEACHER].train_cfg.max_epochs}.pth'
        folder = result_file(out, TEACHER, seed).parent
        overrides = [
            f'model.teacher.cfg={out / TEACHER / "config.py"}',
            f'model.teacher.checkpoint={folder / last}',
        ]
    train_and_score(name, seed, configs[name].train_cfg.max_epochs, out, runner, overrides)


def _summarize(
    configs: dict[str, Config], results: dict[str, list[Result]], seeds: Sequence[int]
) -> str:
    """Lay out all results as Markdown."""
    cfg = configs[TEACHER]
    dataset = cfg.test_dataloader.dataset
    scores = {name: [of_all(run) for run in runs] for name, runs in results.items()}
    metrics = list(scores[TEACHER][0])
    best = statistics.fmean(run['mAP'] for run in scores[TEACHER])
    rows = [['student', 'learns', 'parameters (M)', 'MACs (G)', *metrics, "of the teacher's mAP"]]
    for name, runs in scores.items():
        size = as_figures(measure_config(configs[name])['total'])
        own = [spread([run[metric] for run in runs]) for metric in metrics]
        share = statistics.fmean(run['mAP'] for run in runs) / best if best else 0.0
        how = 'alone' if name.endswith(f'_{ALONE}') else 'with the teacher'
        rows.append(
            [
                name.removesuffix(f'_{ALONE}'),
                '' if name == TEACHER else how,
                f'{size["params_m"]:.2f}',
                f'{size["macs_g"]:.3f}',
                *own,
                f'{share:.1%}',
            ]
        )
    told = (
        f'{dataset.get("dataset_name", dataset.type)}; epochs: '
        f'{", ".join(f"{name} {each.train_cfg.max_epochs}" for name, each in configs.items())}; '
        f'the last checkpoint is scored, all features of a model together, normalized once; seeds: '
        f'{", ".join(map(str, seeds))}. Percent, mean over the seeds'
        + (' ± sample standard deviation.' if len(seeds) > 1 else '.')
    )
    return f'{told}\n\n{markdown_table(rows)}\n'


def run(args: argparse.Namespace) -> None:
    """Do what is left to do, and show the table."""
    # Ended from outside, it ends its runs too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    configs = build_configs(args)
    init_default_scope('fusionreid')
    write_configs(configs, args.out)
    runner = CommandRunner(args.jobs)
    runs = [(name, seed) for seed in args.seeds for name in configs]
    left = [run for run in runs if not result_file(args.out, *run).exists()]
    say(f'{len(runs)} runs, {len(runs) - len(left)} of them finished before')
    if left:
        render(configs[TEACHER], args.out, runner)
    # Teachers first, since students wait for them.
    for is_teacher in (True, False):
        runner.run_all(
            partial(_learn, *run, configs, args.out, runner)
            for run in left
            if (run[0] == TEACHER) == is_teacher
        )
    results = {
        name: [
            json.loads(result_file(args.out, name, seed).read_text())['scores']
            for seed in args.seeds
        ]
        for name in configs
    }
    text = _summarize(configs, results, args.seeds)
    (args.out / 'distillation.md').write_text(text)
    say_lines(f'\n{text}\n{args.out / "distillation.md"}')
