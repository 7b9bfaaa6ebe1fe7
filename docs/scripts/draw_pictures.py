"""Draws the pictures of the documentation that are made from models and from other pictures.

python docs/scripts/draw_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from mmengine.registry import init_default_scope
from PIL import Image

from fusionreid.config import read_config
from fusionreid.models import build_on_meta
from fusionreid.visualization import draw_architecture

IMAGES = Path(__file__).resolve().parents[1] / 'images'
MODEL = 'fusionreid_vitb_r50_market1501'
# Rows of rank_lists.jpg that the README shows: an easy query, and two on which the model errs.
ROWS = (0, 3, 6)
# In pixels of that picture: the bands of its head that are kept, the first row and its height.
HEAD = ((0, 55), (92, 119))
FIRST, ROW = 119, 281.2


def draw_model() -> None:
    """Draw the published model as its config builds it."""
    init_default_scope('fusionreid')
    cfg = read_config(MODEL)
    figure = draw_architecture(
        build_on_meta(cfg.model), tuple(cfg.input_size), 'FusionReID, R50 + ViT-B/16'
    )
    with mpl.rc_context({'svg.hashsalt': MODEL}):
        figure.savefig(IMAGES / 'architecture.svg', metadata={'Date': None})


def crop_rank_lists() -> None:
    """Compose three rows of the quickstart's rank lists."""
    with Image.open(IMAGES / 'rank_lists.jpg') as whole:
        whole.load()
    width = whole.width
    bands = [*HEAD, *((round(FIRST + ROW * row), round(FIRST + ROW * (row + 1))) for row in ROWS)]
    cut = Image.new('RGB', (width, sum(bottom - top for top, bottom in bands)), 'white')
    place = 0
    for top, bottom in bands:
        cut.paste(whole.crop((0, top, width, bottom)), (0, place))
        place += bottom - top
    cut = cut.resize((1200, round(cut.height * 1200 / width)), Image.Resampling.LANCZOS)
    cut.save(IMAGES / 'three_rank_lists.jpg', quality=75, optimize=True)


if __name__ == '__main__':
    draw_model()
    crop_rank_lists()
