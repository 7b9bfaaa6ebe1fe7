"""Features for trackers of other projects, and a simple tracker by overlap."""

from .boxmot import BoxMotEncoder
from .deep_sort import DeepSortEmbedder
from .frame_encoder import FrameEncoder
from .iou_tracker import IoUTracker

__all__ = ['BoxMotEncoder', 'DeepSortEmbedder', 'FrameEncoder', 'IoUTracker']
