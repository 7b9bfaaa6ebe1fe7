"""From nothing to a result: render people, train three small models, score five, draw pictures."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = Path('work_dirs/quickstart')
DATA = Path('data/synthetic')
FUSION = 'fusionreid'
# Name in the results: config and whether it is trained. The same config untrained shows what
# training is worth.
MODELS = {
    FUSION: ('configs/fusionreid_vittiny_r18_synthetic.py', True),
    'cnn_only': ('configs/r18_synthetic.py', True),
    'transformer_only': ('configs/vittiny_synthetic.py', True),
    'untrained': ('configs/fusionreid_vittiny_r18_synthetic.py', False),
    'color_histogram': ('configs/color_histogram_synthetic.py', False),
}
METRICS = ('mAP', 'rank1', 'mINP')
# Two jobs run side by side, each on half of the cores: layers this small gain little from threads.
THREADS = max(1, (os.cpu_count() or 1) // 2)
running: set[subprocess.Popen] = set()


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def run(title: str, command: list[str], log: Path, progress: Callable[[str], str | None]) -> None:
    """Run a Python script, keep its output in a file and show how far it is.

    Args:
        title: What the shown lines begin with.
        command: Arguments after the Python interpreter.
        log: File for the whole output.
        progress: Turns a line of the output into what is shown of it; None shows nothing.

    Raises:
        SystemExit: If the script fails; its last lines are shown.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open('w') as file,
        subprocess.Popen(
            [sys.executable, '-u', *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Loader workers share the cores: threads that spin while they wait would starve them.
            env=dict(os.environ, OMP_WAIT_POLICY='passive', OMP_NUM_THREADS=str(THREADS)),
        ) as process,
    ):
        running.add(process)
        for line in process.stdout:
            file.write(line)
            if shown := progress(line):
                say(f'  {title}: {shown}')
    running.discard(process)
    if process.returncode:
        say('\n'.join(log.read_text().splitlines()[-15:]))
        sys.exit(f'error: {title} failed, all of its output is in {log}')


def nothing(line: str) -> None:
    """Show no line."""


def training_progress(line: str) -> str | None:
    """Shorten mmengine's log: epoch, time left and loss, or the scores."""
    if match := re.search(
        r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*eta: (\S+).*?loss: (\S+)', line
    ):
        epoch, step, steps, eta, loss = match.groups()
        return f'epoch {epoch}, batch {step}/{steps}, loss {loss}, {eta} left'
    if match := re.search(r'Epoch\(val\) \[(\d+)\].*?reid/mAP: (\S+)\s+reid/rank1: (\S+)', line):
        epoch, score, rank1 = match.groups()
        return f'after epoch {epoch}: mAP {float(score):.1f}, Rank-1 {float(rank1):.1f}'
    return None


def render(args: argparse.Namespace) -> None:
    """Render the data set, unless it is there already, and draw its contact sheet."""
    command = ['tools/dataset_converters/render_synthetic.py', str(DATA), '--seed', '0']
    command += ['--ids-train', str(args.ids), '--ids-test', str(args.ids_test)]
    run('render', command, OUT / 'render.log', str.strip)
    from fusionreid.visualization import draw_contact_sheet

    draw_contact_sheet(DATA, OUT / 'contact_sheet.png')


def train(name: str, config: str, args: argparse.Namespace) -> None:
    """Train one model."""
    options = [f'randomness.seed={args.seed}', f'model.head.num_classes={args.ids}']
    if args.epochs:
        options += [
            f'train_cfg.max_epochs={args.epochs}',
        ]
    run(
        f'train {name}',
        ['tools/train.py', config, '--work-dir', str(OUT / name), '--cfg-options', *options],
        OUT / name / 'train.log',
        training_progress,
    )


def score(name: str, config: str, trained: bool, args: argparse.Namespace) -> dict[str, float]:
    """Score one model with all of its features together."""
    command = ['tools/test.py', config]
    if trained:
        command += [str(find_checkpoint(OUT / name))]
    command += ['--work-dir', str(OUT / name), '--out', str(OUT / name / 'test')]
    options = [f'randomness.seed={args.seed}']
    if 'color' not in name:
        options += [f'model.head.num_classes={args.ids}']
    command += ['--cfg-options', *options]
    run(f'score {name}', command, OUT / name / 'test.log', nothing)
    metrics = json.loads((OUT / name / 'test' / 'metrics.json').read_text())
    scores = {key: round(metrics[f'reid/{key}'], 2) for key in METRICS}
    say(f'  score {name}: ' + ', '.join(f'{key} {value:.1f}' for key, value in scores.items()))
    return scores


def find_checkpoint(work_dir: Path) -> Path:
    """Return the last epoch's checkpoint."""
    return max(work_dir.glob('epoch_*.pth'), key=lambda path: int(path.stem.split('_')[1]))


def draw() -> None:
    """Draw the rank lists of the fusion model and the training curves of all."""
    run(
        'rank lists',
        [
            'tools/visualization/draw_rank_lists.py',
            str(OUT / FUSION / 'test'),
            '-o',
            str(OUT / 'rank_lists.png'),
        ],
        OUT / 'rank_lists.log',
        nothing,
    )
    folders = [str(OUT / name) for name, (_, trained) in MODELS.items() if trained]
    run(
        'training curves',
        [
            'tools/visualization/draw_training_curves.py',
            *folders,
            '-o',
            str(OUT / 'training_curves.png'),
        ],
        OUT / 'training_curves.log',
        nothing,
    )


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Print one row per model."""
    say(f'\n{"model":18s}' + ''.join(f'{key:>8s}' for key in METRICS))
    for name in MODELS:
        say(f'{name:18s}' + ''.join(f'{results[name][key]:8.1f}' for key in METRICS))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--ids', type=int, default=300, help='people to train with')
    parser.add_argument('--ids-test', type=int, default=60, help='other people to test with')
    parser.add_argument('--epochs', type=int, help="epochs; the configs' own number if not given")
    parser.add_argument('--seed', type=int, default=0, help='seed of the training')
    return parser.parse_args()


def side_by_side(*jobs: Callable[[], None]) -> None:
    """Run jobs at the same time; the first failure ends all of them."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            for process in list(running):
                process.terminate()
            raise


def main() -> None:
    args = parse_args()
    started = time.time()
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    seconds: dict[str, float] = {}
    results: dict[str, dict[str, float]] = {}

    def timed(name: str, function: Callable, *arguments) -> None:
        before = time.time()
        result = function(*arguments)
        seconds[name] = round(time.time() - before, 1)
        if result is not None:
            results[name] = result

    def do(name: str) -> None:
        config, trained = MODELS[name]
        if trained:
            timed(f'train_{name}', train, name, config, args)
        timed(name, score, name, config, trained, args)

    def announce(step: int, text: str) -> None:
        say(f'[{step}/3] {text} ({time.time() - started:.0f} s so far)')

    announce(1, 'render people')
    timed('render', render, args)
    announce(2, 'train three models, score five on people never seen in training')
    others = [name for name in MODELS if name != FUSION]
    side_by_side(lambda: do(FUSION), lambda: [do(name) for name in others])
    announce(3, 'draw')
    timed('draw', draw)

    seconds['total'] = round(time.time() - started, 1)
    results = {name: results[name] for name in MODELS}
    report = dict(results, seconds=seconds, seed=args.seed)
    (OUT / 'metrics.json').write_text(json.dumps(report, indent=2) + '\n')
    print_table(results)
    say(
        f'\nquickstart: trained and scored in {seconds["total"]:.0f} s; look at '
        f'{OUT}/rank_lists.png, training_curves.png, contact_sheet.png and metrics.json'
    )


if __name__ == '__main__':
    main()
