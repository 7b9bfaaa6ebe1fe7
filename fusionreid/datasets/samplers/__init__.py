from .pk_batches import plan_pk_batches
from .pk_sampler import PKSampler
from .sample_index import SampleIndex
from .shared_batches import plan_shared_batches, share_identities

__all__ = ['PKSampler', 'SampleIndex', 'plan_pk_batches', 'plan_shared_batches', 'share_identities']
