"""Names of the models whose values were measured on the authors' released code."""

from __future__ import annotations

# The paper's model comes first; the branches alone are last.
VARIANTS = (
    'vitb12_r50_d2_shared_seu',
    'vitb12_r50_d2_released',
    't2t14_r50_d2_shared_seu',
    'r50_only',
    'vitb12_only',
)
