"""Train each branch alone and the fusion of both, with several seeds, and compare them.

    fusionreid ablate --seeds 0 1 2

The fusion is trained with 0 to 3 HTMs, on rendered people unless another config is given;
``--variants`` takes lighter fusions too. Called again, the command goes on where it was stopped;
finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock

from mmengine.config import Config
from mmengine.registry import init_default_scope

from fusionreid.config import fill_in_counts, merge_options, read_config
from fusionreid.errors import ConfigError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_comparison import compare_features, headline_scores
from fusionreid.evaluation.feature_set import ALL
from fusionreid.models import build_on_meta
from fusionreid.models.complexity import count_layer_parameters
from fusionreid.utils.csv_table import write_csv
from fusionreid.utils.files import open_atomic
from fusionreid.utils.tables import markdown_table
from fusionreid.utils.terminal import say, say_lines

from .ablation_results import per_run_rows, summarize_gains
from .ablation_variants import LIGHTER_VARIANTS, apply_variant
from .command_runner import CommandRunner, TrainingProgress, show_all
from .option_actions import OptionAction
from .output_file import make_folder
from .runner_config import LOADERS

SHARED, UNSHARED = {'model.neck.shared': ('seu',)}, {'model.neck.shared': ()}
# Name, title in the table, and what differs from the config.
VARIANTS: dict[str, tuple[str, dict]] = {
    'cnn': ('CNN alone', {'model.branches.transformer': None, 'model.neck': None}),
    'transformer': ('transformer alone', {'model.branches.cnn': None, 'model.neck': None}),
    'fusion_l0': ('both, L = 0 (no HTM)', {'model.neck.num_layers': 0, **SHARED}),
    'fusion_l1': ('fusion, L = 1', {'model.neck.num_layers': 1, **SHARED}),
    'fusion_l2': ('fusion, L = 2', {'model.neck.num_layers': 2, **SHARED}),
    'fusion_l3': ('fusion, L = 3', {'model.neck.num_layers': 3, **SHARED}),
    'fusion_l2_unshared': (
        'fusion, L = 2, a SEU per branch',
        {'model.neck.num_layers': 2, **UNSHARED},
    ),
    **LIGHTER_VARIANTS,
}
DEFAULT_VARIANTS = [name for name in VARIANTS if name not in LIGHTER_VARIANTS]
FEATURES = 'features'  # of a run, in its folder
# The ranking's threads are many already.
ranking = Lock()

Result = dict[str, dict[str, float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        '--config',
        default='fusionreid_vittiny_r18_synthetic',
        help='config of the fusion of both branches (default: the small one for rendered people)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/fusion_ablation'),
        help='folder for runs, results, ablation.md and ablation.csv (default: %(default)s)',
    )
    add_run_arguments(parser, 'all models')
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=VARIANTS,
        default=DEFAULT_VARIANTS,
        metavar='NAME',
        help=f'models to train, of {", ".join(VARIANTS)} (default: those without lite_)',
    )
    parser.add_argument(
        '--baseline',
        choices=VARIANTS,
        metavar='NAME',
        help='one of the models, over which the gain of all others is tabled',
    )


def add_run_arguments(parser: argparse.ArgumentParser, models: str) -> None:
    """Add what all commands have that train models with several seeds.

    Args:
        parser: Parser of the command.
        models: Which models ``--cfg-options`` is for.
    """
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--epochs', type=int, help="epochs; the config's own number if not given")
    parser.add_argument('--jobs', type=int, default=2, help='runs side by side (default: 2)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        help=f'overrides, for {models}',
    )


def check_run_arguments(
    args: argparse.Namespace, parser: argparse.ArgumentParser, models: str, names: list[str]
) -> None:
    """Refuse runs that would be made twice, or that are none.

    Args:
        args: Arguments of the command.
        parser: Its parser, which says what is wrong.
        models: Option that names the models.
        names: What the models are called.
    """
    for option, values in (('--seeds', args.seeds), (models, names)):
        if len(set(values)) != len(values):
            parser.error(f'{option} must differ, got {" ".join(map(str, values))}')
    if min(args.jobs, 1 if args.epochs is None else args.epochs) < 1:
        parser.error('--jobs and --epochs must be at least 1')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together, and fill in what follows from others."""
    check_run_arguments(args, parser, '--variants', args.variants)
    if args.baseline not in (None, *args.variants):
        parser.error(f'--baseline {args.baseline} must be one of --variants')


def build_config(variant: str, args: argparse.Namespace) -> Config:
    """Build the config that one of the compared models is trained with.

    Args:
        variant: Name of the model, a key of ``VARIANTS``.
        args: Arguments of the command; ``config``, ``cfg_options``, ``data_root`` and ``epochs``
            are read.

    Returns:
        The config, complete but for the seed and the folder of the run.

    Raises:
        ConfigError: If the config does not fuse a CNN and a transformer, or trains without epochs.
    """
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options)
    model = cfg.get('model') or {}
    branches = [name for name, branch in model.get('branches', {}).items() if branch]
    if branches != ['cnn', 'transformer'] or not model.get('neck'):
        raise ConfigError(f'{args.config} must fuse branches named cnn and transformer by a neck')
    if not cfg.get('train_cfg', {}).get('max_epochs'):
        raise ConfigError(f'{args.config} must have train_cfg.max_epochs')
    if args.data_root is not None:
        cfg.merge_from_dict({f'{name}.dataset.data_root': args.data_root for name in LOADERS})
    if args.epochs is not None:
        cfg.train_cfg.max_epochs = args.epochs
    apply_variant(cfg, VARIANTS[variant][1])
    fill_in_counts(cfg)
    return cfg


def write_configs(configs: dict[str, Config], out: Path) -> None:
    """Write each model's config into its folder.

    Args:
        configs: Configs by the names of the models.
        out: Folder of the runs.

    Raises:
        ConfigError: If a folder holds runs of another config.
    """
    for variant, cfg in configs.items():
        path = out / variant / 'config.py'
        if path.exists() and read_config(path).to_dict() != cfg.to_dict():
            raise ConfigError(
                f'{path.parent} holds runs with other settings, see {path.name} there: repeat '
                'those, or choose another folder by --out'
            )
    for variant, cfg in configs.items():
        path = out / variant / 'config.py'
        make_folder(path.parent, '--out')
        if not path.exists():
            cfg.dump(str(path))


def render(cfg: Config, out: Path, runner: CommandRunner) -> None:
    """Render the people that a config asks for, if it reads rendered ones that are missing.

    Args:
        cfg: Config of a model.
        out: Folder for the log.
        runner: Runs ``fusionreid render``.

    Raises:
        CommandError: If rendering fails.
    """
    dataset = cfg.train_dataloader.dataset
    if dataset.get('dataset_name') != 'Synthetic' or Path(dataset.data_root).exists():
        return
    height, width = cfg.input_size
    command = ['render', dataset.data_root]
    command += ['--ids-train', cfg.model.head.num_classes, '--height', height, '--width', width]
    runner.run('render', command, out / 'render.log', show_all)


def result_file(out: Path, variant: str, seed: int) -> Path:
    """Name the file that the scores of one run are kept in.

    Args:
        out: Folder of the ablation.
        variant: Name of the model, a key of ``VARIANTS``.
        seed: Seed of the run.

    Returns:
        The file, which exists once the run is finished.

    Example:
        >>> result_file(Path('work_dirs/fusion_ablation'), 'fusion_l2', 0).as_posix()
        'work_dirs/fusion_ablation/fusion_l2/seed0/result.json'
    """
    return out / variant / f'seed{seed}' / 'result.json'


def train_and_score(
    variant: str,
    seed: int,
    epochs: int,
    out: Path,
    runner: CommandRunner,
    overrides: Sequence[str] = (),
) -> None:
    """Do one run and keep its scores.

    Args:
        variant: Name of the model.
        seed: Seed of the run.
        epochs: Epochs that the config of the model is trained.
        out: Folder of the runs, with the config.
        runner: Runs the commands.
        overrides: Settings of this run, as ``--cfg-options`` takes them.

    Raises:
        CommandError: If a command fails.
    """
    file = result_file(out, variant, seed)
    config, work_dir, name = out / variant / 'config.py', file.parent, f'{variant}, seed {seed}'
    options: list[object] = ['--work-dir', work_dir, '--cfg-options', *overrides]
    options += [f'randomness.seed={seed}']
    runner.run(
        f'train {name}',
        ['train', config, '--resume', '--no-validate', *options],
        work_dir / 'train.log',
        TrainingProgress(work_dir, epochs),
    )
    checkpoint, features = work_dir / f'epoch_{epochs}.pth', work_dir / FEATURES
    runner.run(
        f'score {name}',
        ['test', config, checkpoint, '--out', features, *options],
        work_dir / 'test.log',
    )
    with ranking:
        results = compare_features(FeatureSet.load(features))
    scores = {feature: headline_scores(result) for feature, result in results.items()}
    record = json.dumps(dict(variant=variant, seed=seed, scores=scores), indent=2)
    with open_atomic(file) as target:
        target.write(f'{record}\n'.encode())
    headline = ', '.join(f'{key} {value:.1f}' for key, value in of_all(scores).items())
    say(f'  {name}: {headline}')


def of_all(scores: Result) -> dict[str, float]:
    """Take the scores of all features together, or of the only one.

    Args:
        scores: Scores of the features of a run by name.

    Returns:
        Scores by the name of the metric, in percent.

    Example:
        >>> of_all(dict(cnn=dict(mAP=80.0)))
        {'mAP': 80.0}
    """
    return scores.get(ALL) or next(iter(scores.values()))


def spread(values: Sequence[float]) -> str:
    """Write mean and sample standard deviation; the mean alone of a single value.

    Args:
        values: The values.

    Returns:
        The text.

    Example:
        >>> spread([80.0, 82.0]), spread([80.0])
        ('81.0 ± 1.4', '80.0')
    """
    mean = f'{statistics.fmean(values):.1f}'
    return f'{mean} ± {statistics.stdev(values):.1f}' if len(values) > 1 else mean


def _summarize(
    configs: dict[str, Config], results: dict[str, list[Result]], seeds: list[int]
) -> str:
    """Lay out all results.

    Args:
        configs: Config of each model.
        results: Scores of each model's features, one for each seed.
        seeds: The seeds.

    Returns:
        Markdown: what was done, a table of all features together, and one of the single features.
    """
    first = next(iter(configs.values()))
    dataset = first.test_dataloader.dataset
    told = [
        f'{dataset.get("dataset_name", dataset.type)}; epochs: {first.train_cfg.max_epochs}, the '
        f'last checkpoint is scored; seeds: {", ".join(map(str, seeds))}. Percent, mean over the '
        'seeds' + (' ± sample standard deviation.' if len(seeds) > 1 else '.')
    ]
    metrics = list(of_all(next(iter(results.values()))[0]))
    rows = [['model', 'parameters (M)', *metrics]]
    for variant, runs in results.items():
        model = build_on_meta(configs[variant].model)
        parameters = count_layer_parameters(model, without='classifier')
        scores = [spread([of_all(run)[metric] for run in runs]) for metric in metrics]
        rows.append([VARIANTS[variant][0], f'{parameters / 1e6:.2f}', *scores])
    told += ['All features of a model together, normalized once:', markdown_table(rows)]
    # The model with most features has them in the order of all models.
    by_number = sorted((runs[0] for runs in results.values()), key=len, reverse=True)
    features = list(dict.fromkeys(name for scores in by_number for name in scores))
    rows = [['model', *features]]
    for variant, runs in results.items():
        cells = [
            spread([run[name]['mAP'] for run in runs]) if name in runs[0] else ''
            for name in features
        ]
        rows.append([VARIANTS[variant][0], *cells])
    told += [
        'mAP of each feature, of all normalized once, and of all normalized one by one:',
        markdown_table(rows),
    ]
    return '\n\n'.join(told) + '\n'


def run(args: argparse.Namespace) -> None:
    """Do what is left to do, and show the tables."""
    # Ended from outside, it ends its runs too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    configs = {variant: build_config(variant, args) for variant in args.variants}
    init_default_scope('fusionreid')
    write_configs(configs, args.out)
    runner = CommandRunner(args.jobs)
    # Seed by seed, so that the models can be compared before the last seed.
    runs = [(variant, seed) for seed in args.seeds for variant in args.variants]
    left = [run for run in runs if not result_file(args.out, *run).exists()]
    say(f'{len(runs)} runs, {len(runs) - len(left)} of them finished before')
    first = next(iter(configs.values()))
    if left:
        render(first, args.out, runner)
    epochs = first.train_cfg.max_epochs
    runner.run_all(partial(train_and_score, *run, epochs, args.out, runner) for run in left)
    results = {
        variant: [
            json.loads(result_file(args.out, variant, seed).read_text())['scores']
            for seed in args.seeds
        ]
        for variant in args.variants
    }
    text = _summarize(configs, results, args.seeds)
    if args.baseline:
        folders = {
            VARIANTS[variant][0]: [
                result_file(args.out, variant, seed).with_name(FEATURES) for seed in args.seeds
            ]
            for variant in args.variants
        }
        text += f'\n{summarize_gains(folders, VARIANTS[args.baseline][0])}\n'
    files = [result_file(args.out, *run) for run in runs]
    (args.out / 'ablation.csv').write_bytes(write_csv(per_run_rows(files)))
    (args.out / 'ablation.md').write_text(text)
    say_lines(f'\n{text}\n{args.out / "ablation.md"}')
