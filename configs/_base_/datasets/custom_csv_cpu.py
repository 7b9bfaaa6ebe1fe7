# The same in batches of 32 images, for small models on a CPU.
_base_ = './custom_csv.py'

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    sampler=dict(ids_per_batch=8, instances_per_id=4),
)
val_dataloader = dict(batch_size=64, num_workers=2)
test_dataloader = val_dataloader
