"""Augmentation: what happens to a training image between the cache and the network.

plain.py   one affine resampling, colour as one matrix, mixup and CutMix: whole batches in torch

Randomness about pixels lives here alone, and each choice depends on the image's draw key only (see draws.py).
"""
