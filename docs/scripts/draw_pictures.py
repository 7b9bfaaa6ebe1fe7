"""Draws the pictures of the documentation that no command draws.

    python docs/scripts/draw_pictures.py [FEATURES_DIR]

FEATURES_DIR are the saved features of the quickstart's model; they are looked for where the
quickstart saves them, below the current folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
from mmengine.registry import init_default_scope
from PIL import Image

from fusionreid.cli.rank_lists import score_queries
from fusionreid.config import read_config
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.rank_lists import describe_rank_lists, find_rank_lists
from fusionreid.models import build_on_meta
from fusionreid.visualization import draw_architecture, draw_rank_lists, select_queries

IMAGES = Path(__file__).resolve().parents[1] / 'images'
MODEL = 'fusionreid_vitb_r50_market1501'
FEATURES = 'work_dirs/quickstart/fusionreid/test'
# Of eight queries from easy to hard: an easy one, and two on which the model errs.
NUM_QUERIES, ROWS = 8, (0, 3, 6)
WIDTH = 1200  # pixels


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
    height = round(picture.height * WIDTH / picture.width)
    picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    picture.save(IMAGES / 'three_rank_lists.jpg', quality=75, optimize=True)


if __name__ == '__main__':
    draw_model()
    draw_three_rank_lists(*(sys.argv[1:] or [FEATURES]))
