"""The image augmentation that people know from Keras, under its names, without Keras.

    from tenfold.keras import ImageDataGenerator
    generator = ImageDataGenerator(rotation_range=20, horizontal_flip=True, rescale=1 / 255)
    flow = generator.flow(x, y, batch_size=32)
    for _ in range(len(flow)):  # an epoch: `for images, labels in flow` never ends
        images, labels = next(flow)

files.py                    image files as arrays and back; which files are images; the original's module `utils`
affine_transformations.py   changes to one image: turn, shift, shear, zoom, flip, channel shift, brightness
batches.py                  the same for a whole batch, in one pass over the pixels
loops.py                    what of this is compiled: the constant outside an image, brightness, finding whole numbers
fitted.py                   what `fit` learns: mean, deviation, whitening
parameters.py               how the parameters of a transformation are drawn
iterator.py                 the order of samples, seeds, batches of files
numpy_array_iterator.py, directory_iterator.py, dataframe_iterator.py   the three sources of batches
image_data_generator.py     ImageDataGenerator

Names, arguments, attributes and errors are those of `keras_preprocessing.image`, results those of Keras 3. Keras models
train on the iterators as they are. Random numbers come from NumPy's global state, in the order in which Keras draws
them, as its documented seeds ask for. Two things differ from Keras 3 on purpose:

1. `height_shift_range` moves images along their height and `width_shift_range` along their width, as the documentation
   of Keras says; its code has it the other way round.
2. Means and deviations are summed in double precision; the means of Keras fall short from some ten million pixels on.

docs/augment.md says more, and what it does where Keras 3 and the original disagree.
"""

import sys

from tenfold.keras import files as utils
from tenfold.keras.affine_transformations import (
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    flip_axis,
    random_brightness,
    random_channel_shift,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
    transform_matrix_offset_center,
)
from tenfold.keras.dataframe_iterator import DataFrameIterator
from tenfold.keras.directory_iterator import DirectoryIterator
from tenfold.keras.files import array_to_img, img_to_array, list_pictures, load_img, save_img, validate_filename
from tenfold.keras.image_data_generator import ImageDataGenerator
from tenfold.keras.iterator import BatchFromFilesMixin, Iterator
from tenfold.keras.numpy_array_iterator import NumpyArrayIterator

__all__ = [
    "BatchFromFilesMixin",
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "flip_axis",
    "img_to_array",
    "list_pictures",
    "load_img",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "transform_matrix_offset_center",
    "utils",
    "validate_filename",
]

sys.modules[f"{__name__}.utils"] = utils  # the original's module of this name, for those who import it or patch it
