"""Draws the pictures of the documentation that no command draws.

    python docs/scripts/draw_pictures.py [FEATURES_DIR]

FEATURES_DIR are the saved features of the quickstart's model; they are looked for where the
quickstart saves them, below the current folder.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
from mmengine.registry import init_default_scope
from PIL import Image, ImageDraw

from fusionreid.cli.rank_lists import score_queries
from fusionreid.config import read_config
from fusionreid.datasets.seeded_augmentation import seeded_augmentation
from fusionreid.datasets.synthetic import WORLDS, SyntheticConfig, render_data_set
from fusionreid.datasets.transforms import read_image
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.rank_lists import describe_rank_lists, find_rank_lists
from fusionreid.models import build_on_meta
from fusionreid.registry import TRANSFORMS
from fusionreid.visualization import (
    draw_ablation_curves,
    draw_architecture,
    draw_contact_sheet,
    draw_rank_lists,
    figure_pixels,
    select_queries,
)
from fusionreid.visualization.contact_sheet import find_example_images
from fusionreid.visualization.fonts import text_font
from fusionreid.visualization.style import TEXT_COLOR
from fusionreid.visualization.tiles import BACKGROUND

DOCS = Path(__file__).resolve().parents[1]
IMAGES = DOCS / 'images'
MODEL = 'fusionreid_vitb_r50_market1501'
FEATURES = 'work_dirs/quickstart/fusionreid/test'
# Of eight queries from easy to hard: an easy one, and two on which the model errs.
NUM_QUERIES, ROWS = 8, (0, 3, 6)
WIDTH = 1200  # pixels
NUM_AUGMENTATIONS, DRAWS = 6, 4
LOOKALIKES = range(5, 9)  # ids of one group


def draw_model() -> None:
    """Draw the published model as its config builds it."""
    init_default_scope('fusionreid')
    cfg = read_config(MODEL)
    figure = draw_architecture(
        build_on_meta(cfg.model), tuple(cfg.input_size), 'FusionReID, R50 + ViT-B/16'
    )
    with mpl.rc_context({'svg.hashsalt': MODEL}):
        figure.savefig(IMAGES / 'architecture.svg', metadata={'Date': None})


def draw_three_rank_lists(features_dir: str) -> None:
    """Draw three of the rank lists that the quickstart draws."""
    feature_set = FeatureSet.load(features_dir)
    names = ['all']
    scores = score_queries(feature_set, names)
    chosen = [select_queries(scores, NUM_QUERIES)[row] for row in ROWS]
    lists = find_rank_lists(feature_set, names, chosen, scores[chosen].tolist(), k=10)
    picture = draw_rank_lists(
        **vars(lists), title='Rank lists', protocol=describe_rank_lists(feature_set, names)
    )
    _save(picture, 'three_rank_lists.jpg')


def draw_scores_against_l() -> None:
    """Draw the results of 21 runs against L, as the table in fusion.md has them."""
    # Model, number of parameters, and mean and deviation over the seeds of two scores.
    row = r'^\| (.+?) +\| [\d.]+ +\| ([\d.]+) ± ([\d.]+) +\| ([\d.]+) ± ([\d.]+) '
    scores = {}
    for name, *numbers in re.findall(row, (DOCS / 'fusion.md').read_text(), re.M):
        mAP, mAP_spread, rank1, rank1_spread = map(float, numbers)  # noqa: N806
        scores[name] = {
            # Three values with this mean and this sample deviation.
            'mAP': [mAP - mAP_spread, mAP, mAP + mAP_spread],
            'Rank-1': [rank1 - rank1_spread, rank1, rank1 + rank1_spread],
        }
    curve = {
        float(found[1]): own
        for name, own in scores.items()
        if (found := re.search(r'L = (\d)(?!, a SEU)', name))
    }
    figure = draw_ablation_curves(
        {'fusion': curve},
        'L, number of HTMs',
        'Scores against L, number of HTMs',
        'Synthetic, 6 epochs; feature all; seeds 0, 1, 2',
        {'CNN alone': scores['CNN alone']},
    )
    _save(Image.fromarray(figure_pixels(figure)), 'scores_against_l.jpg')


def draw_worlds() -> None:
    """Draw people of the rendered worlds."""
    sheets = []
    with tempfile.TemporaryDirectory() as folder:
        for world in WORLDS:
            config = SyntheticConfig(1, 8, 2, world=world, distractors=False)
            render_data_set(Path(folder, world), config)
            sheets.append(draw_contact_sheet(Path(folder, world), num_people=5, title=world))
    _save(_beside(sheets), 'worlds.jpg')


def draw_difficulties() -> None:
    """Draw a group of look-alikes in everyday scenes and in a crowd."""
    sheets = []
    with tempfile.TemporaryDirectory() as folder:
        for difficulty in ('lookalikes', 'hard'):
            config = SyntheticConfig(1, 8, 2, difficulty=difficulty, distractors=False)
            render_data_set(Path(folder, difficulty), config)
            images = find_example_images(Path(folder, difficulty))
            group = [each for each in images if each[1] in LOOKALIKES]
            sheets.append(draw_contact_sheet(group, title=difficulty))
    _save(_beside(sheets), 'difficulties.jpg')


def _beside(sheets: list[Image.Image]) -> Image.Image:
    """Lay sheets out in two columns."""
    width, height = (max(sheet.size[axis] for sheet in sheets) for axis in (0, 1))
    picture = Image.new('RGB', (2 * width, (len(sheets) + 1) // 2 * height), BACKGROUND)
    for number, sheet in enumerate(sheets):
        picture.paste(sheet, (number % 2 * width, number // 2 * height))
    return picture


def draw_augmentations() -> None:
    """Draw what each line of augmentation.md does to a rendered person, several times."""
    init_default_scope('fusionreid')
    lines = re.findall(r'^    dict\((type.*)\),', (DOCS / 'augmentation.md').read_text(), re.M)
    settings = [eval(f'dict({line})') for line in dict.fromkeys(lines[:NUM_AUGMENTATIONS])]
    with tempfile.TemporaryDirectory() as folder:
        config = SyntheticConfig(1, 2, 2, height=256, width=128, distractors=False)
        render_data_set(Path(folder, 'people'), config)
        image = read_image(str(min(Path(folder, 'people', 'query').glob('*.jpg'))))
    height, width, _ = image.shape
    step = width + 8
    picture = Image.new('RGB', (step * (len(settings) + 1), 30 + DRAWS * (height + 8)), BACKGROUND)
    draw, font = ImageDraw.Draw(picture), text_font(14)
    draw.text((4, 8), 'unchanged', TEXT_COLOR, font)
    picture.paste(Image.fromarray(image), (4, 30))
    for column, each in enumerate(settings, 1):
        transform = TRANSFORMS.build(dict(each, prob=1.0))
        name = each.get('policy', each['type']).replace('mmpretrain.', '').replace('-mstd0.5', '')
        draw.text((4 + column * step, 8), name.replace('Random', ''), TEXT_COLOR, font)
        for row in range(DRAWS):
            with seeded_augmentation(row):
                changed = transform(dict(img=image.copy()))['img']
            place = (4 + column * step, 30 + row * (height + 8))
            picture.paste(Image.fromarray(changed), place)
    _save(picture, 'augmentations.jpg')


def _save(picture: Image.Image, name: str) -> None:
    height = round(picture.height * WIDTH / picture.width)
    picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    picture.save(IMAGES / name, quality=75, optimize=True)


if __name__ == '__main__':
    draw_model()
    draw_scores_against_l()
    draw_worlds()
    draw_difficulties()
    draw_augmentations()
    draw_three_rank_lists(*(sys.argv[1:] or [FEATURES]))
