from . import transforms
from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .csv_dataset import CsvDataset
from .dukemtmc_reid import DukeMTMCReID
from .joint_dataset import JointDataset
from .market1501 import Market1501
from .market_style_dataset import MarketStyleDataset
from .msmt17 import MSMT17
from .split_table import split_table

__all__ = [
    'MSMT17',
    'CsvDataset',
    'DukeMTMCReID',
    'JointDataset',
    'Market1501',
    'MarketStyleDataset',
    'ReIDAnnotation',
    'ReIDDataset',
    'ReIDRecord',
    'split_table',
    'transforms',
]
