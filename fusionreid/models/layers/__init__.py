"""Layers that backbones and necks share."""
