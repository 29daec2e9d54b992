"""Augmentation: training images, changed.

ops/            what can be done to an image, one literal of all
tree.py         ops with probabilities and ranges; choices, chains and blends of them
draw.py         draw keys -> what is done to each image, geometry and color composed into matrices
kernel/         matrices and color maps -> pixels, in one compiled pass
apply.py        what was drawn -> pixels
device.py       what was drawn -> pixels, on a GPU
boxes.py        boxes and points that move with the image
policy.py       an augmentation as data, TOML in and out
mix_settings.py  how a policy mixes images, as data
published.py    policies by name
chosen.py       the policy that a recipe asks for
mix.py          mixup and CutMix
memory.py       memory for batches, used again when they are gone
feed.py         what a training's batches are made of
torch_data.py   policies in torchvision's pipelines and torch's data sets
words.py        what was done to an image, in words; chains of a blend with their weights
save.py         augmented images as files
standardize.py  mean and standard deviation, by sample and by feature
whiten.py       ZCA whitening
views.py        the lecture's views: de-colorized, de-texturized, edge-enhanced, salient edges
"""
