"""From nothing to a result: render people, train three small models, score five, draw pictures.

Everything goes into ``work_dirs/quickstart`` and ``data/synthetic`` below the current folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fusionreid.config import read_config
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say, say_lines
from fusionreid.visualization import draw_contact_sheet
from fusionreid.visualization.saving import save_picture

from .arguments import positive
from .command_runner import CommandRunner, TrainingProgress, show_all

OUT = Path('work_dirs/quickstart')
DATA = Path('data/synthetic')
IDS, IDS_TEST = 300, 60
# Photos whose relevance maps are drawn, each of another person.
NUM_EXPLAINED = 3
FUSION = 'fusionreid'
METRICS = ('mAP', 'rank1', 'mINP')


@dataclass(frozen=True)
class Model:
    """A model of the comparison.

    Attributes:
        config: Its config.
        trained: Whether it is trained before it is scored.
        learns: Whether it has anything to learn, and so a number of identities.
    """

    config: str
    trained: bool = True
    learns: bool = True


MODELS = {
    FUSION: Model('fusionreid_vittiny_r18_synthetic'),
    'cnn_only': Model('r18_synthetic'),
    'transformer_only': Model('vittiny_synthetic'),
    'untrained': Model('fusionreid_vittiny_r18_synthetic', trained=False),
    'color_histogram': Model('color_histogram_synthetic', trained=False, learns=False),
}


class Quickstart:
    """One run.

    Args:
        args: Arguments of the command line.
        out: Folder that the results are collected in.
    """

    def __init__(self, args: argparse.Namespace, out: Path) -> None:
        self.args = args
        self.out = out
        usual = (args.ids, args.ids_test) == (IDS, IDS_TEST)
        self.data = DATA if usual else Path(f'{DATA}_{args.ids}_{args.ids_test}')
        # Side by side, since layers this small gain little from threads.
        self.runner = CommandRunner(jobs=2)
        self.seconds: dict[str, float] = {}
        self.scores: dict[str, dict[str, float]] = {}
        self.started = time.time()

    def run(self) -> None:
        """Do everything, and write ``metrics.json`` at the end."""
        self._announce(1, 'render people')
        self._timed('render', self._render)
        self._announce(2, 'train three models, score five on people never seen in training')
        others = [name for name in MODELS if name != FUSION]
        self.runner.run_all(
            [lambda: self._train_and_score([FUSION]), lambda: self._train_and_score(others)]
        )
        self._announce(3, 'draw')
        self._timed('draw', self._draw)
        self.seconds['total'] = round(time.time() - self.started, 1)
        scores = {name: self.scores[name] for name in MODELS}
        report = dict(scores, seconds=self.seconds, seed=self.args.seed)
        (self.out / 'metrics.json').write_text(json.dumps(report, indent=2) + '\n')

    def table(self) -> str:
        """Return the scores, a line per model."""
        rows = [['model', *METRICS]]
        rows += [[name, *(f'{self.scores[name][key]:.1f}' for key in METRICS)] for name in MODELS]
        return format_table(rows)

    def _announce(self, step: int, text: str) -> None:
        say(f'[{step}/3] {text} ({time.time() - self.started:.0f} s so far)')

    def _timed(self, name: str, function: Callable[..., object], *arguments: object) -> None:
        before = time.time()
        function(*arguments)
        self.seconds[name] = round(time.time() - before, 1)

    def _render(self) -> None:
        command: list[object] = ['render', self.data, '--seed', '0']
        command += ['--ids-train', self.args.ids, '--ids-test', self.args.ids_test]
        self.runner.run('render', command, self.out / 'render.log', show_all)
        sheet = draw_contact_sheet(self.data, title='Rendered people, one photo from each camera')
        save_picture(sheet, self.out / 'contact_sheet.png')

    def _train_and_score(self, names: list[str]) -> None:
        for name in names:
            if MODELS[name].trained:
                self._timed(f'train_{name}', self._train, name)
            self._timed(f'score_{name}', self._score, name)

    def _options(self, name: str) -> list[str]:
        options = ['--data-root', str(self.data), '--work-dir', str(self.out / name)]
        options += ['--cfg-options', f'randomness.seed={self.args.seed}']
        if MODELS[name].learns:
            options += [f'model.head.num_classes={self.args.ids}']
        return options

    def _train(self, name: str) -> None:
        epochs = self.args.epochs or read_config(MODELS[name].config).train_cfg.max_epochs
        command = ['train', MODELS[name].config, *self._options(name)]
        command += [f'train_cfg.max_epochs={epochs}']
        work_dir = self.out / name
        progress = TrainingProgress(work_dir, epochs)
        self.runner.run(f'train {name}', command, work_dir / 'train.log', progress)

    def _score(self, name: str) -> None:
        command: list[object] = ['test', MODELS[name].config]
        if MODELS[name].trained:
            command += [last_checkpoint(self.out / name)]
        command += ['--out', self.out / name / 'test', *self._options(name)]
        self.runner.run(f'score {name}', command, self.out / name / 'test.log')
        metrics = json.loads((self.out / name / 'test' / 'metrics.json').read_text())
        scores = {key: round(metrics[f'reid/{key}'], 2) for key in METRICS}
        say(f'  score {name}: ' + ', '.join(f'{key} {value:.1f}' for key, value in scores.items()))
        self.scores[name] = scores

    def _draw(self) -> None:
        features = self.out / FUSION / 'test'
        trained = [self.out / name for name, model in MODELS.items() if model.trained]
        drawings = (
            ('rank-lists', 'rank_lists', [features]),
            ('curves', 'training_curves', trained),
        )
        for command, name, inputs in drawings:
            picture = self.out / f'{name}.png'
            self.runner.run(name, [command, *inputs, '-o', picture], self.out / f'{name}.log')
        by_person = {path.name[:4]: path for path in sorted((self.data / 'query').glob('*.jpg'))}
        photos = list(by_person.values())[:NUM_EXPLAINED]
        explain = ['explain', '-', last_checkpoint(self.out / FUSION), *photos, '--what', 'cam']
        self.runner.run('explain', [*explain, '-o', self.out / 'maps'], self.out / 'explain.log')


def last_checkpoint(work_dir: Path) -> Path:
    """Return the checkpoint of the last epoch."""
    return max(work_dir.glob('epoch_*.pth'), key=lambda path: int(path.stem.split('_')[1]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('--ids', type=positive, default=IDS, help='people to train with')
    parser.add_argument(
        '--ids-test', type=positive, default=IDS_TEST, help='other people to test with'
    )
    parser.add_argument(
        '--epochs', type=positive, help="epochs; the configs' own number if not given"
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the training')


def run(args: argparse.Namespace) -> None:
    """Do everything; the results of an earlier run stay until there are new ones."""
    unfinished = OUT.with_name(f'{OUT.name}.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    quickstart = Quickstart(args, unfinished)
    quickstart.run()
    shutil.rmtree(OUT, ignore_errors=True)
    unfinished.rename(OUT)
    say_lines(f'\n{quickstart.table()}')
    say_lines(
        f'\nquickstart: trained and scored in {quickstart.seconds["total"]:.0f} s; look at '
        f'{OUT}/rank_lists.png, maps/relevance.png, training_curves.png, contact_sheet.png and '
        'metrics.json'
    )
