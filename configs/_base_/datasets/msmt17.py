_base_ = './reid.py'

dataset_type = 'MSMT17'
data_root = 'data/msmt17'
# 'train+val' as the authors do; 'train' as fast-reid and torchreid do. Scores state which it was.
train_split = 'train+val'

train_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, train_split=train_split)
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, train_split=train_split))
test_dataloader = val_dataloader
