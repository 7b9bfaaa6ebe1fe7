# Several public data sets as one to train on: a config that uses it names them in `datasets`, and
# has a test set. Nothing is scored in training: choosing by an unseen set would be a leak.
_base_ = './reid.py'

dataset_type = 'JointDataset'
sources = dict(
    market1501=dict(type='Market1501', data_root='data/market1501'),
    msmt17=dict(type='MSMT17', data_root='data/msmt17', train_split='train+val'),
    cuhk02=dict(type='CUHK02', data_root='data/cuhk02'),
    cuhk03=dict(type='CUHK03', data_root='data/cuhk03', boxes='detected'),
    cuhksysu=dict(type='CUHKSYSU', data_root='data/cuhk-sysu'),
)

train_dataloader = dict(
    # The largest set has three images of most people.
    sampler=dict(ids_per_batch=32, instances_per_id=4),
    dataset=dict(type=dataset_type),
)
val_dataloader = val_evaluator = None
