from .ablation_curves import draw_ablation_curves
from .architecture import draw_architecture
from .attention_sheet import draw_attention_sheet
from .camera_pairs import draw_camera_pairs
from .contact_sheet import draw_contact_sheet
from .distance_matrix import draw_distance_matrix
from .feature_chart import draw_feature_chart
from .map_grid import MapPanel, MapRow, draw_map_grid
from .pair_sheet import PhotoPair, draw_pair_sheet
from .pareto import draw_pareto
from .projection import draw_projection, project_features
from .rank_list import draw_rank_lists, select_queries
from .relevance_sheet import draw_relevance_sheet, relevance_panel
from .saving import figure_pixels, save_picture
from .search_results import QueryAnswers, draw_search_results
from .speed_chart import SpeedBar, draw_speed_chart
from .training_curves import draw_training_curves
from .training_history import TrainingHistory, read_training_history
from .verification import draw_verification

__all__ = [
    'MapPanel',
    'MapRow',
    'PhotoPair',
    'QueryAnswers',
    'SpeedBar',
    'TrainingHistory',
    'draw_ablation_curves',
    'draw_architecture',
    'draw_attention_sheet',
    'draw_camera_pairs',
    'draw_contact_sheet',
    'draw_distance_matrix',
    'draw_feature_chart',
    'draw_map_grid',
    'draw_pair_sheet',
    'draw_pareto',
    'draw_projection',
    'draw_rank_lists',
    'draw_relevance_sheet',
    'draw_search_results',
    'draw_speed_chart',
    'draw_training_curves',
    'draw_verification',
    'figure_pixels',
    'project_features',
    'read_training_history',
    'relevance_panel',
    'save_picture',
    'select_queries',
]
