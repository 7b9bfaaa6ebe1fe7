"""Measures what joint training brings in a world that was not trained on: docs/joint_training.md.

    python docs/scripts/measure_joint_training.py OUT

Renders the four worlds into ``OUT/data`` and trains a small ResNet-18 on one of them and on every
three of them, by the same number of steps, with and without instance norm. Each model is scored on
the people of the worlds that it was not trained on. Called again, it goes on where it was stopped;
``--steps 2 --people 27 --seeds 0`` tries everything in a few minutes, and ``--report`` shows what
is finished in all seeds.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from fusionreid.config import fill_in_counts, read_config
from fusionreid.datasets.synthetic import WORLDS, SyntheticConfig, render_data_set
from fusionreid.utils.files import open_atomic
from fusionreid.utils.tables import markdown_table
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.style import SERIES_COLORS, style_axes

DOCS = Path(__file__).resolve().parents[1]
TABLE = DOCS / 'benchmarks' / 'joint_training.csv'
PICTURE = DOCS / 'images' / 'joint_training.png'
NORMS: dict[str, dict[str, Any]] = {
    'BN': dict(ibn=False),
    'IBN-a': dict(ibn=True),
    'IBN-a + MixStyle': dict(ibn=True, mix_style=(1, 2)),
}
ONE, EQUAL, ALL = 'one world', 'three worlds, as many people', 'three worlds, all people'
TEST_PEOPLE, JOINED = 40, 3
# Width and height of the images, and people of a batch: a core takes twenty steps a second.
SIZE, BATCH = (32, 64), 6


class Run(NamedTuple):
    """A model to train.

    Attributes:
        worlds: What it is trained on.
        people: People of each of these worlds.
        norm: Key of ``NORMS``.
        seed: Seed.
    """

    worlds: tuple[str, ...]
    people: int
    norm: str
    seed: int

    def name(self) -> str:
        """A name for a file."""
        return f'{"-".join(self.worlds)}_{self.people}_{self.norm.replace(" ", "")}_{self.seed}'


def compared(unseen: str, people: int, seed: int) -> dict[str, tuple[tuple[str, ...], int]]:
    """What is trained on, to be scored in a world: worlds, and people of each, by its title.

    The one world is another one with every seed.
    """
    others = tuple(world for world in WORLDS if world != unseen)
    return {
        ONE: ((others[seed % len(others)],), people),
        ALL: (others, people),
        EQUAL: (others, people // JOINED),
    }


def train_and_score(run: Run, args: argparse.Namespace) -> dict[str, float]:
    """Train a model; returns mAP in percent by the world that it was not trained on."""
    cfg = read_config('r18_synthetic_worlds')

    def settings(world: str, people: int) -> dict[str, Any]:
        root = str(args.out / 'data' / f'{world}_{people}')
        return dict(type='MarketStyleDataset', data_root=root, dataset_name=world, num_cameras=6)

    train = cfg.train_dataloader
    train.dataset.datasets = [settings(world, run.people) for world in run.worlds]
    train.dataset.cache_images = True
    train.sampler.ids_per_batch = BATCH
    train.batch_size = BATCH * train.sampler.instances_per_id
    for loader in (train, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.input_size = SIZE[::-1]
    for step in (*train.dataset.pipeline, *cfg.test_dataloader.dataset.pipeline):
        if 'scale' in step:
            step.scale = SIZE
    cfg.model.branches.cnn.backbone.update(NORMS[run.norm])
    cfg.model.head.num_classes = None
    fill_in_counts(cfg)
    cfg.train_cfg = dict(by_epoch=False, max_iters=args.steps, val_interval=args.steps + 1)
    cfg.param_scheduler = dict(type='CosineAnnealingLR', T_max=args.steps, by_epoch=False)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    unseen = [world for world in WORLDS if world not in run.worlds]
    cfg.test_cfg = dict(
        type='CrossDomainTestLoop', datasets=[settings(world, args.people) for world in unseen]
    )
    cfg.default_hooks.checkpoint = None
    cfg.visualizer.vis_backends = []
    cfg.work_dir, cfg.log_level = str(args.out / 'logs'), 'WARNING'
    cfg.experiment_name = run.name()
    cfg.randomness = dict(seed=run.seed)
    runner = Runner.from_cfg(cfg)
    runner.train()
    scores = runner.test()
    return {world: scores[f'{world}/reid/mAP'] for world in unseen}


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    if not values:
        return ''  # not finished
    mean = f'{statistics.fmean(values):.1f}'
    return f'{mean} ± {statistics.stdev(values):.1f}' if len(values) > 1 else mean


Rows = list[dict[str, Any]]


def gather(args: argparse.Namespace, results: dict[Run, dict[str, float]]) -> Rows:
    """A row for each run and unseen world, where the runs of all seeds are finished."""
    rows: Rows = []
    for unseen, kind in itertools.product(args.unseen, (ONE, EQUAL, ALL)):
        runs = [
            Run(*compared(unseen, args.people, seed)[kind], norm, seed)
            for norm, seed in itertools.product(args.norms, args.seeds)
        ]
        if results.keys() >= set(runs):
            rows += [
                dict(
                    unseen=unseen,
                    trained_on=kind,
                    worlds='+'.join(run.worlds),
                    people=run.people * len(run.worlds),
                    norm=run.norm,
                    seed=run.seed,
                    mAP=round(results[run][unseen], 2),
                )
                for run in runs
            ]
    return rows


def scores(rows: Rows, **wanted: str) -> list[float]:
    """List a score for each seed of the rows as wanted: the mean over unseen worlds."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if all(row[key] == value for key, value in wanted.items()):
            found.setdefault(row['seed'], []).append(row['mAP'])
    return [statistics.fmean(each) for each in found.values()]


def values_of(rows: Rows, key: str) -> list[str]:
    """The different values of a column, in their order."""
    return list(dict.fromkeys(row[key] for row in rows))


def summarize(rows: Rows) -> str:
    """Lay out mean and deviation over the seeds, a column for each unseen world and all of them."""
    unseen = values_of(rows, 'unseen')
    lines = [['trained on', 'norm', *unseen, *(['mean'] if len(unseen) > 1 else [])]]
    for kind, norm in itertools.product(values_of(rows, 'trained_on'), values_of(rows, 'norm')):
        own = dict(trained_on=kind, norm=norm)
        cells = [spread(scores(rows, unseen=world, **own)) for world in unseen]
        cells += [spread(scores(rows, **own))] if len(unseen) > 1 else []
        lines.append([kind, norm, *cells])
    return markdown_table(lines)


def draw(rows: Rows) -> None:
    """Draw the scores with their deviations."""
    unseen, kinds, norms = (values_of(rows, key) for key in ('unseen', 'trained_on', 'norm'))
    figure = Figure(figsize=(2.4 * len(unseen) + 2.4, 4), dpi=100, layout='constrained')
    all_axes = figure.subplots(1, len(unseen), sharey=True, squeeze=False)[0]
    for axes, world in zip(all_axes, unseen, strict=True):
        for place, (color, kind) in enumerate(zip(SERIES_COLORS, kinds, strict=False)):
            found = [scores(rows, unseen=world, trained_on=kind, norm=norm) for norm in norms]
            axes.bar(
                [group + 0.27 * (place - 1) for group in range(len(norms))],
                [statistics.fmean(each) if each else 0 for each in found],
                0.25,
                yerr=[statistics.stdev(each) if len(each) > 1 else 0 for each in found],
                color=color,
                capsize=3,
                label=kind,
            )
        axes.set_xticks(range(len(norms)), [norm.replace(' + ', '\n+ ') for norm in norms])
        axes.set_title(f'{world}, not trained on', fontsize=10, loc='left')
        style_axes(axes, 'y')
    all_axes[0].set_ylabel('mAP (%)')
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=3)
    save_picture(figure, PICTURE)


def main() -> None:
    """Do what is left to do, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder for data and results')
    parser.add_argument('--unseen', nargs='+', choices=WORLDS, default=list(WORLDS)[::-1])
    parser.add_argument('--norms', nargs='+', choices=NORMS, default=['BN', 'IBN-a'])
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--people', type=int, default=120, help='of a world, to train with')
    parser.add_argument('--steps', type=int, default=600, help='of 24 images')
    parser.add_argument('--report', action='store_true', help='train nothing')
    args = parser.parse_args()
    for world, people in itertools.product(WORLDS, (args.people, args.people // JOINED)):
        config = SyntheticConfig(people, TEST_PEOPLE, 3, world=world)
        render_data_set(args.out / 'data' / f'{world}_{people}', config, workers=1)
    init_default_scope('fusionreid')
    results: dict[Run, dict[str, float]] = {}
    for unseen, kind, seed, norm in itertools.product(
        args.unseen, (ONE, ALL, EQUAL), args.seeds, args.norms
    ):
        run = Run(*compared(unseen, args.people, seed)[kind], norm, seed)
        file = args.out / f'{args.steps}_steps' / f'{run.name()}.json'
        if not file.exists() and not args.report:
            file.parent.mkdir(parents=True, exist_ok=True)
            record = json.dumps(train_and_score(run, args))
            with open_atomic(file) as target:
                target.write(record.encode())
            print(run.name(), record, flush=True)
        if file.exists():
            results[run] = json.loads(file.read_text())
    rows = gather(args, results)
    with open(TABLE, 'w', newline='') as file:
        writer = csv.DictWriter(file, rows[0], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    draw(rows)
    print(summarize(rows))


if __name__ == '__main__':
    main()
