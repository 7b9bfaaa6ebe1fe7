# A quarter-width ResNet-50 as the student.
_base_ = './r18_synthetic_distilled.py'

model = dict(branches=dict(cnn=dict(backbone=dict(depth=50))))
