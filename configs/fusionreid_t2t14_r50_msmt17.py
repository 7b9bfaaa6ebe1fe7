_base_ = './fusionreid_vitb_r50_msmt17.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                _delete_=True,
                type='ReIDT2TViT',
                img_size=(256, 128),
                embed_dims=384,
                num_layers=14,
                num_heads=6,
                drop_path_rate=0.1,
                num_cameras=15,
            )
        )
    )
)
