# Own images in Market-1501's layout and naming.
_base_ = './reid.py'

dataset_type = 'MarketStyleDataset'
data_root = 'data/custom'
num_cameras = None  # None: the largest camera that occurs

train_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, num_cameras=num_cameras)
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, num_cameras=num_cameras))
test_dataloader = val_dataloader
