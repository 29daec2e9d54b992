"""Training: Table + Recipe -> Run.

start.py       the run's folder, from data and recipe to the loop and back
data.py        prepared images and the loaders that training reads
choose.py      what a recipe leaves open, chosen from the images
measure.py     precision, speed and learning rate, measured on this machine
loop.py        the one training loop
schedule.py    learning rate and image size over the training
optimizer.py   optimizers, clipping, averaged weights
events.py      TensorBoard's events
checkpoint.py  going on after a stop
ranks.py       several processes
interrupt.py   Ctrl-C
progress.py    what whoever watches is told
"""

from tenfold.train.progress import Progress
from tenfold.train.start import resume_training, train_model

__all__ = ["Progress", "resume_training", "train_model"]
