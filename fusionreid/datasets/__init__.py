from . import transforms
from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .csv_dataset import CsvDataset
from .cuhk02 import CUHK02
from .cuhk03 import CUHK03
from .cuhk_sysu import CUHKSYSU
from .dukemtmc_reid import DukeMTMCReID
from .grid import GRID
from .ilids import ILIDS
from .joint_dataset import JointDataset
from .ltcc import LTCC
from .market1501 import Market1501
from .market_style_dataset import MarketStyleDataset
from .mars import MARS
from .msmt17 import MSMT17
from .occluded_duke import OccludedDuke
from .occluded_reid import OccludedREID
from .partial_reid import PartialREID
from .prcc import PRCC
from .prid2011 import PRID2011
from .split_table import split_table
from .vehicleid import VehicleID
from .veri776 import VeRi776
from .viper import VIPeR

__all__ = [
    'CUHK02',
    'CUHK03',
    'CUHKSYSU',
    'CsvDataset',
    'DukeMTMCReID',
    'JointDataset',
    'GRID',
    'ILIDS',
    'LTCC',
    'MARS',
    'MSMT17',
    'Market1501',
    'MarketStyleDataset',
    'OccludedDuke',
    'OccludedREID',
    'PRCC',
    'PRID2011',
    'PartialREID',
    'ReIDAnnotation',
    'ReIDDataset',
    'ReIDRecord',
    'VIPeR',
    'VeRi776',
    'VehicleID',
    'split_table',
    'transforms',
]
