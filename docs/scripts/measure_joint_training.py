"""Measures what joint training brings in a world that was not trained on: docs/joint_training.md.

    python docs/scripts/measure_joint_training.py OUT

Renders the four worlds into ``OUT/data`` and trains a small ResNet-18 on each of them and on every
three of them, by the same number of steps, with and without instance norm. Each model
is scored on the people of the worlds that it was not trained on. Called again, it goes on where it
was stopped; ``--steps 2 --people 12 --seeds 0`` tries everything in a minute. The table, the CSV
and the picture are of the runs that are finished in all seeds.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator
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
SIZE = (48, 96)  # width and height of the images, so that a core takes seven steps a second


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


def compared(unseen: str, people: int) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """What is trained on, to be scored in a world: its title, worlds, and people of each."""
    others = tuple(world for world in WORLDS if world != unseen)
    for world in others:
        yield ONE, (world,), people
    yield EQUAL, others, people // JOINED
    yield ALL, others, people


def train_and_score(run: Run, args: argparse.Namespace) -> dict[str, float]:
    """Train a model; returns mAP in percent by the world that it was not trained on."""
    cfg = read_config('r18_synthetic_worlds')

    def settings(world: str, people: int) -> dict[str, Any]:
        root = str(args.out / 'data' / f'{world}_{people}')
        return dict(type='MarketStyleDataset', data_root=root, dataset_name=world, num_cameras=6)

    train = cfg.train_dataloader
    train.dataset.datasets = [settings(world, run.people) for world in run.worlds]
    train.dataset.cache_images = True
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
    mean = f'{statistics.fmean(values):.1f}'
    return f'{mean} ± {statistics.stdev(values):.1f}' if len(values) > 1 else mean


Rows = list[dict[str, Any]]


def gather(args: argparse.Namespace, results: dict[Run, dict[str, float]]) -> Rows:
    """Rows of the worlds, of which all runs are finished: a row for each run and unseen world."""
    rows: Rows = []
    for unseen in args.unseen:
        found: Rows = []
        for (kind, worlds, people), norm, seed in itertools.product(
            compared(unseen, args.people), args.norms, args.seeds
        ):
            scores = results.get(Run(worlds, people, norm, seed))
            found.append(
                dict(
                    unseen=unseen,
                    trained_on=kind,
                    worlds='+'.join(worlds),
                    people=people * len(worlds),
                    norm=norm,
                    seed=seed,
                    mAP=round(scores[unseen], 2) if scores else None,
                )
            )
        if all(row['mAP'] is not None for row in found):
            rows += found
    return rows


def by_seed(rows: Iterable[dict[str, Any]]) -> list[float]:
    """Mean over everything but the seed."""
    ordered = sorted(rows, key=lambda row: row['seed'])
    groups = itertools.groupby(ordered, key=lambda row: row['seed'])
    return [statistics.fmean(row['mAP'] for row in group) for _, group in groups]


def summarize(rows: Rows) -> str:
    """Lay out mean and deviation over the seeds, a column for each unseen world and all of them."""
    unseen, norms = (list(dict.fromkeys(row[key] for row in rows)) for key in ('unseen', 'norm'))
    lines = [['trained on', 'norm', *unseen, *(['all'] if len(unseen) > 1 else [])]]
    for kind, norm in itertools.product((ONE, EQUAL, ALL), norms):
        own = [row for row in rows if (row['trained_on'], row['norm']) == (kind, norm)]
        columns = [[row for row in own if row['unseen'] == world] for world in unseen]
        cells = [spread(by_seed(each)) for each in (*columns, own)]
        lines.append([kind, norm, *cells[: len(lines[0]) - 2]])
    return markdown_table(lines)


def draw(rows: Rows) -> None:
    """Draw the scores with their deviations."""
    unseen, norms = (list(dict.fromkeys(row[key] for row in rows)) for key in ('unseen', 'norm'))
    figure = Figure(figsize=(2.6 * len(unseen) + 2.2, 4), dpi=100, layout='constrained')
    all_axes = figure.subplots(1, len(unseen), sharey=True, squeeze=False)[0]
    for axes, world in zip(all_axes, unseen, strict=True):
        for place, (color, kind) in enumerate(zip(SERIES_COLORS, (ONE, EQUAL, ALL), strict=False)):
            for group, norm in enumerate(norms):
                values = by_seed(
                    row
                    for row in rows
                    if (row['unseen'], row['trained_on'], row['norm']) == (world, kind, norm)
                )
                deviation = statistics.stdev(values) if len(values) > 1 else 0
                axes.bar(
                    group + 0.27 * (place - 1),
                    statistics.fmean(values),
                    0.25,
                    yerr=deviation,
                    color=color,
                    capsize=3,
                    label=None if group else kind,
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
    parser.add_argument('--steps', type=int, default=160, help='of 36 images')
    args = parser.parse_args()
    for world, people in itertools.product(WORLDS, (args.people, args.people // JOINED)):
        config = SyntheticConfig(people, TEST_PEOPLE, 3, world=world)
        render_data_set(args.out / 'data' / f'{world}_{people}', config, workers=1)
    init_default_scope('fusionreid')
    planned = (
        Run(worlds, people, norm, seed)
        for unseen, seed in itertools.product(args.unseen, args.seeds)
        for (_, worlds, people), norm in itertools.product(
            compared(unseen, args.people), args.norms
        )
    )
    results: dict[Run, dict[str, float]] = {}
    for run in dict.fromkeys(planned):
        file = args.out / f'{args.steps}_steps' / f'{run.name()}.json'
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            record = json.dumps(train_and_score(run, args))
            with open_atomic(file) as target:
                target.write(record.encode())
            print(run.name(), record, flush=True)
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
