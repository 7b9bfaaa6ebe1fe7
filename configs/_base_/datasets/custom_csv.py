# Own images listed in a table with the columns path,person_id,camera_id,role.
_base_ = './reid.py'

dataset_type = 'CsvDataset'
data_root = 'data/custom'
ann_file = 'people.csv'
num_cameras = None  # None: the largest camera that occurs, plus one

train_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, ann_file=ann_file, num_cameras=num_cameras)
)
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, ann_file=ann_file, num_cameras=num_cameras)
)
test_dataloader = val_dataloader
