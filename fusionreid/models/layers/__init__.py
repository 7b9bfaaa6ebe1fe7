"""Layers that backbones and necks share: attention, embeddings, activation checkpointing."""
