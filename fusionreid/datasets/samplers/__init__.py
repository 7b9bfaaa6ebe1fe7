from .pk_sampler import PKSampler, plan_pk_batches
from .sample_index import SampleIndex

__all__ = ['PKSampler', 'SampleIndex', 'plan_pk_batches']
