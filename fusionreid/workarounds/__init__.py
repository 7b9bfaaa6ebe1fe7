"""What works around faults of other packages, each until the version that mends it.

``docs/stacks.md`` lists them with their reasons.
"""
