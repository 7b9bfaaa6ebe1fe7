"""Draw the mAP of the models of an ablation against what they cost.

    fusionreid ablation-pareto work_dirs/fusion_ablation -o pareto.png

The folders are those of ``fusionreid ablate``. Costs are the multiply-adds of one image, as
``fusionreid complexity`` counts them, and with ``--latency`` the time for one image on this CPU,
from images on to features.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fusionreid.config import build_errors, read_config
from fusionreid.errors import UserError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.models import inference_form
from fusionreid.registry import MODELS
from fusionreid.utils.progress import Progress
from fusionreid.utils.tables import markdown_table
from fusionreid.utils.terminal import say, say_lines
from fusionreid.visualization.pareto import draw_pareto, pareto_front
from fusionreid.visualization.saving import save_picture

from .ablate import VARIANTS
from .ablation_runs import Scores, read_runs
from .arguments import positive
from .complexity import measure_config

METRIC, FUSION = 'mAP', ('LRU', 'HTM')
MACS, LATENCY = 'multiply-adds of one image (G)', 'time for one image on a CPU (ms)'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('folders', nargs='+', type=Path, help='of fusionreid ablate')
    parser.add_argument('-o', '--out', required=True, help='picture to write, e.g. pareto.png')
    parser.add_argument('--feature', default=ALL, help='feature to score (default: all)')
    parser.add_argument(
        '--latency', action='store_true', help='measure the time for one image on this CPU too'
    )
    parser.add_argument(
        '--rounds',
        type=positive,
        default=20,
        help='rounds through all models, of which the median is taken (default: %(default)s)',
    )
    parser.add_argument('--title', help='title (default: mAP against cost)')


def run(args: argparse.Namespace) -> None:
    """Collect scores and costs, draw them, and show them as a table."""
    configs, scores, protocol = collect_models(args.folders, args.feature)
    with build_errors():
        counts = {name: measure_config(cfg) for name, cfg in configs.items()}
        computed = {name: measure_config(cfg, as_computed=True) for name, cfg in configs.items()}
    costs = {MACS: {name: parts['total'].macs / 1e9 for name, parts in counts.items()}}
    if args.latency:
        costs[LATENCY] = measure_latency(configs, args.rounds)
        protocol += f'; CPU, threads: {torch.get_num_threads()}, batches of one'
    maps = {name: each[METRIC] for name, each in scores.items()}
    title = args.title or f'{METRIC} against cost'
    save_picture(draw_pareto(maps, costs, title, protocol, METRIC), args.out)
    rows = [['', 'model', METRIC, 'GMACs', 'of the fusion', 'computed', *(['ms'] * args.latency)]]
    means = [statistics.fmean(each) for each in maps.values()]
    front = pareto_front(list(costs[MACS].values()), means)
    for place, (name, values) in enumerate(maps.items()):
        spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
        fusion = sum(counts[name][part].macs for part in FUSION if part in counts[name])
        rows.append(
            [
                f'{place + 1}{"*" if place in front else ""}',
                name,
                f'{means[place]:.1f}{spread}',
                f'{costs[MACS][name]:.3f}',
                f'{fusion / 1e9:.3f}',
                f'{computed[name]["total"].macs / 1e9:.3f}',
                *([f'{costs[LATENCY][name]:.1f}'] if args.latency else []),
            ]
        )
    note = 'With *: no model with as few multiply-adds scores more.'
    say_lines(f'{protocol}\n\n{markdown_table(rows)}\n\n{note}\n')
    say(args.out)


def collect_models(
    folders: list[Path], feature: str
) -> tuple[dict[str, Config], dict[str, Scores], str]:
    """Read the models of ablations with their scores.

    Args:
        folders: Folders of ablations. Where there are several, their names become part of the
            models' names.
        feature: Feature whose scores are read.

    Returns:
        Config and scores of each model, by its name, in the order of ``fusionreid ablate``; and
        data set, feature and seeds.

    Raises:
        UserError: A folder holds no results, one is damaged or lacks the feature, or the data sets
            differ.
    """
    configs: dict[str, Config] = {}
    scores: dict[str, Scores] = {}
    seeds: set[int] = set()
    data_sets: dict[str, None] = {}
    order = list(VARIANTS)
    for folder in folders:
        by_model, own_seeds = read_runs(folder, feature)
        seeds |= own_seeds
        for path in sorted(by_model, key=lambda path: [*order, path.name].index(path.name)):
            title = VARIANTS[path.name][0] if path.name in VARIANTS else path.name
            name = f'{folder.name}: {title}' if len(folders) > 1 else title
            cfg = configs[name] = read_config(path / 'config.py')
            scores[name] = by_model[path]
            dataset = cfg.test_dataloader.dataset
            data_sets[dataset.get('dataset_name', dataset.type)] = None
    if len(data_sets) > 1:
        raise UserError(
            f'scores of different data sets belong in different pictures: {", ".join(data_sets)}'
        )
    text = f'{"; ".join(data_sets)}; feature {feature}; seeds {", ".join(map(str, sorted(seeds)))}'
    return configs, scores, text


def measure_latency(configs: Mapping[str, Config], rounds: int) -> dict[str, float]:
    """Measure how long models take for one image on this CPU.

    The models take turns, so that what else the machine does meets all of them.

    Args:
        configs: Configs by name; the weights are random.
        rounds: How often each model is run.

    Returns:
        Milliseconds by name, the median over the rounds.
    """
    extractors = {name: _extractor(cfg) for name, cfg in configs.items()}
    times: dict[str, list[float]] = {name: [] for name in extractors}
    meter = Progress('rounds', rounds)
    for number in range(rounds):
        for name, extract in extractors.items():
            start = time.perf_counter()
            extract()
            times[name].append(1e3 * (time.perf_counter() - start))
        meter.update(number + 1)
    return {name: statistics.median(each) for name, each in times.items()}


def _extractor(cfg: Config) -> Callable[[], object]:
    """What computes the features of one image, once called before."""
    init_default_scope(cfg.get('default_scope', 'fusionreid'))
    with build_errors():
        model = MODELS.build(cfg.model).eval()
    size = tuple(cfg.input_size)
    model = inference_form(model, size)
    image = torch.randn(1, 3, *size)

    @torch.inference_mode()
    def extract() -> object:
        return model(image, mode='tensor')

    extract()
    return extract
