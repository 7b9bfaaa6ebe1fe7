"""Search for good settings: ``fusionreid sweep CONFIG --params KEY=RANGE ...``.

Each trial is a training with other settings, chosen by Optuna from the scores of those before. A
trial that lags behind the others is given up. The same command again continues the search, within a
trial too. In the folder there are ``trials.csv``, ``study.png``, ``study.db``, and a run folder for
each trial.
"""

from __future__ import annotations

import argparse
import gc
import shlex
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.config import Config

from fusionreid.config import merge_options, read_config
from fusionreid.config.search_space import FORMS, SearchRange, read_search_range
from fusionreid.engine.hooks.trial_report_hook import TrialReportHook
from fusionreid.errors import ConfigError, UserError
from fusionreid.utils.csv_table import write_csv
from fusionreid.utils.files import open_atomic
from fusionreid.utils.optional import import_optional
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say, say_lines
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.study_chart import TrialPoint, draw_study

from . import train
from .arguments import positive
from .folder_lock import locked
from .option_actions import OptionAction
from .runner_config import LOADERS

STUDY = 'study.db'
NAME = 'sweep'  # of the study in its file
# What every file of SQLite begins with.
SQLITE = b'SQLite format 3\0'


def search_range(text: str) -> tuple[str, SearchRange]:
    """Read one of ``--params``."""
    try:
        return read_search_range(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='name or path of a config')
    parser.add_argument(
        '--params',
        nargs='+',
        type=search_range,
        required=True,
        metavar='KEY=RANGE',
        help=f'settings of the config to search, each as {FORMS}',
    )
    parser.add_argument(
        '--trials', type=positive, default=20, help='trainings in all (default: 20)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of the search (default: work_dirs/sweep_<name of the config>)',
    )
    parser.add_argument(
        '--metric',
        default='reid/mAP',
        help='score of a validation to raise; the best of its validations is the score of a trial '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--startup-trials',
        type=positive,
        default=5,
        metavar='N',
        help='trials that end before any may be pruned, which then happens to one whose scores '
        'stay below the median of the others at the same epoch (default: %(default)s)',
    )
    parser.add_argument('--no-pruning', action='store_true', help='train every trial to its end')
    parser.add_argument('--seed', type=int, default=0, help='of the choices (default: 0)')
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, help='overrides, for all'
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    keys = [key for key, _ in args.params]
    repeated = {key for key in keys if keys.count(key) > 1} | (set(keys) & set(args.cfg_options))
    if repeated:
        parser.error(f'{", ".join(sorted(repeated))}: each setting must be given once')


def run(args: argparse.Namespace) -> None:
    """Search, and show what was found."""
    optuna = import_optional('optuna', 'optuna', 'fusionreid sweep', ConfigError)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    params = dict(args.params)
    cfg = build_config(args)
    out = args.out or Path('work_dirs') / f'sweep_{Path(args.config).stem}'
    with locked(out, '--out'):
        study = open_study(optuna, out, args)
        config = keep_config(cfg, out)
        while (trial := next_trial(optuna, study, args)) is not None:
            try:
                run_trial(optuna, study, trial, args, config)
            finally:
                write_results(study, out, args.metric, params)
        write_results(study, out, args.metric, params)
    report(study, out, args)


def build_config(args: argparse.Namespace) -> Config:
    """Build the config that all trials share.

    Args:
        args: The arguments.

    Returns:
        The config.

    Raises:
        ConfigError: If nothing is scored while it trains, or the settings to search do not fit it.
    """
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options)
    for part in ('model', 'train_cfg', 'train_dataloader', 'val_dataloader', 'val_evaluator'):
        if not cfg.get(part):
            raise ConfigError(f'{args.config} has no {part}, which every trial needs')
    if args.data_root is not None:
        cfg.merge_from_dict({f'{name}.dataset.data_root': args.data_root for name in LOADERS})
    # A typo in a name is told before the first training, not after the last.
    merge_options(Config(cfg.to_dict()), {key: None for key, _ in args.params})
    return cfg


def keep_config(cfg: Config, out: Path) -> Path:
    """Write the config into the folder, so that all trials have the same, whenever they run.

    Args:
        cfg: The config.
        out: The folder.

    Returns:
        The file.

    Raises:
        ConfigError: If the folder holds a search with another config.
    """
    path = out / 'config.py'
    if not path.exists():
        cfg.dump(str(path))
    elif read_config(path).to_dict() != cfg.to_dict():
        raise ConfigError(
            f'{out} holds a search with another config, see {path.name} there: repeat that one, '
            'or choose another folder by --out'
        )
    return path


def open_study(optuna: ModuleType, out: Path, args: argparse.Namespace) -> Any:
    """Open the study of a folder, or start one.

    Args:
        optuna: The library.
        out: The folder.
        args: The arguments.

    Returns:
        The study.

    Raises:
        ConfigError: If the file is damaged, or the study is about other settings.
    """
    path = out / STUDY
    if path.exists() and path.stat().st_size and path.open('rb').read(len(SQLITE)) != SQLITE:
        raise ConfigError(f'{path} is damaged: delete it, or choose another folder by --out')
    study = optuna.create_study(
        storage=f'sqlite:///{path.absolute()}',
        study_name=NAME,
        direction='maximize',
        load_if_exists=True,
    )
    study.sampler = make_sampler(optuna, args.seed + len(study.trials))
    study.pruner = make_pruner(optuna, args)
    asked = {'metric': args.metric, **{key: repr(values) for key, values in args.params}}
    known = study.user_attrs.get('asked')
    if known is None:
        study.set_user_attr('asked', asked)
    elif known != asked:
        names = sorted(name for name in known | asked if known.get(name) != asked.get(name))
        raise ConfigError(
            f'{out} holds a search that differs in {", ".join(names)}: repeat that one, or choose '
            'another folder by --out'
        )
    return study


def make_sampler(optuna: ModuleType, seed: int) -> Any:
    """Make what chooses the settings.

    Args:
        optuna: The library.
        seed: Another one whenever a search is continued, which would else repeat its first choices.

    Returns:
        The sampler.
    """
    return optuna.samplers.TPESampler(seed=seed)


def make_pruner(optuna: ModuleType, args: argparse.Namespace) -> Any:
    """Make what decides which trials are given up.

    Args:
        optuna: The library.
        args: The arguments.

    Returns:
        The pruner.
    """
    if args.no_pruning:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=args.startup_trials)


def next_trial(optuna: ModuleType, study: Any, args: argparse.Namespace) -> Any:
    """Take the trial that was interrupted, or a new one.

    Args:
        optuna: The library.
        study: The study.
        args: The arguments.

    Returns:
        The trial; None if there are as many as asked for.
    """
    for known in study.get_trials(deepcopy=False):
        # The folder is locked, so that no other process works on it.
        if known.state == optuna.trial.TrialState.RUNNING:
            return optuna.trial.Trial(study, known._trial_id)
    return study.ask() if len(study.trials) < args.trials else None


def run_trial(
    optuna: ModuleType, study: Any, trial: Any, args: argparse.Namespace, config: Path
) -> None:
    """Train with the settings of a trial, and keep its score.

    An interrupted trial stays in its state, so that it is continued next time.

    Args:
        optuna: The library.
        study: The study.
        trial: The trial.
        args: The arguments.
        config: Config of all trials.

    Raises:
        UserError: If the training ends in one, and no trial before has got a score.
    """
    chosen = {key: values.suggest(trial, key) for key, values in args.params}
    folder = config.parent / f'trial_{trial.number:03d}'
    say(f'trial {trial.number}: {describe(chosen)}')
    known = study.trials[trial.number].intermediate_values
    hook = TrialReportHook(trial, args.metric, known)
    state = optuna.trial.TrialState
    try:
        train.train(train_arguments(config, folder, chosen), hook)
    except optuna.TrialPruned:
        study.tell(trial, state=state.PRUNED)
    except (UserError, torch.cuda.OutOfMemoryError) as error:
        trial.set_user_attr('error', str(error).partition('\n')[0])
        study.tell(trial, state=state.FAIL)
        if all(score_of(each) is None for each in study.trials):
            raise
        say(f'trial {trial.number} failed: {error}')
    else:
        if not hook.scores:
            raise ConfigError(
                f'trial {trial.number} ended without a validation: set train_cfg.val_interval to '
                'at most train_cfg.max_epochs'
            )
        study.tell(trial, max(hook.scores.values()))
    finally:
        # The model of this trial, before that of the next.
        gc.collect()
        torch.cuda.empty_cache()
    last = study.trials[trial.number]
    if (score := score_of(last)) is not None:
        say(f'trial {trial.number}: {args.metric} {score:.1f}, {last.state.name.lower()}')


def score_of(trial: Any) -> float | None:
    """Find the best of a trial's validations.

    Args:
        trial: The trial.

    Returns:
        The score; None if the trial has failed or is not finished.
    """
    if trial.state.name not in ('COMPLETE', 'PRUNED'):
        return None
    return max(trial.intermediate_values.values(), default=None)


def train_arguments(config: Path, folder: Path, chosen: dict[str, Any]) -> argparse.Namespace:
    """Arguments of ``fusionreid train`` for a trial.

    Args:
        config: Config of all trials.
        folder: Run folder of the trial.
        chosen: Its settings.

    Returns:
        The arguments.
    """
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    resume = ['--resume'] if folder.exists() else []
    args = parser.parse_args([str(config), '--work-dir', str(folder), '--quiet', *resume])
    # MMEngine keeps logs and scores by this name for as long as the process lives.
    args.cfg_options = {**chosen, 'experiment_name': f'{folder.name}_{time.time_ns()}'}
    return args


def describe(settings: dict[str, Any]) -> str:
    """Write settings as ``--cfg-options`` takes them.

    Example:
        >>> describe({'model.neck.num_layers': 2, 'optim_wrapper.optimizer.lr': 0.00123456789})
        'model.neck.num_layers=2 optim_wrapper.optimizer.lr=0.00123456789'
    """
    return ' '.join(
        shlex.quote(f'{key}={str(value).replace(" ", "")}') for key, value in settings.items()
    )


def write_results(study: Any, out: Path, metric: str, params: dict[str, SearchRange]) -> None:
    """Write the table and the picture of a study.

    Args:
        study: The study.
        out: Folder to write to.
        metric: Name of the score.
        params: The settings.
    """
    rows: list[list[object]] = [
        ['trial', 'state', metric, 'epochs', 'seconds', *params, 'error'],
    ]
    points = []
    for trial in study.trials:
        score = score_of(trial)
        epochs = max(trial.intermediate_values, default='')
        seconds = round(trial.duration.total_seconds(), 1) if trial.duration else ''
        settings = [trial.params.get(key, '') for key in params]
        error = trial.user_attrs.get('error', '')
        rows.append(
            [
                trial.number,
                trial.state.name.lower(),
                '' if score is None else score,
                epochs,
                seconds,
                *settings,
                error,
            ]
        )
        if score is not None:
            pruned = trial.state.name == 'PRUNED'
            points.append(TrialPoint(trial.number, score, pruned, trial.params))
    with open_atomic(out / 'trials.csv') as target:
        target.write(write_csv(rows))
    if points:
        figure = draw_study(
            points,
            metric,
            f'Search of {len(params)} setting{"s" * (len(params) > 1)}',
            f'{out.name}: the best of the validations of each trial',
            [key for key, values in params.items() if values.kind == 'log'],
        )
        save_picture(figure, out / 'study.png')


def report(study: Any, out: Path, args: argparse.Namespace) -> None:
    """Print the best trials, and how to train with the best settings.

    Args:
        study: The study.
        out: Folder of the search.
        args: The arguments.

    Raises:
        ConfigError: If no trial has a score.
    """
    params = [key for key, _ in args.params]
    found = [(score_of(trial), trial) for trial in study.trials]
    scored = [(score, trial) for score, trial in found if score is not None]
    if not scored:
        raise ConfigError(f'no trial in {out} has a score, see trials.csv there')
    scored.sort(key=lambda pair: -pair[0])
    rows = [('trial', args.metric, 'state', *params)]
    for score, trial in scored[:5]:
        values = [_short(trial.params[key]) for key in params]
        rows.append((str(trial.number), f'{score:.1f}', trial.state.name.lower(), *values))
    say_lines(format_table(rows))
    best = {key: scored[0][1].params[key] for key in params}
    options = ' '.join(filter(None, [describe(args.cfg_options), describe(best)]))
    say_lines(f'fusionreid train {args.config} --cfg-options {options}\n{out / "study.png"}')


def _short(value: Any) -> str:
    return f'{value:.3g}' if isinstance(value, float) else str(value)
