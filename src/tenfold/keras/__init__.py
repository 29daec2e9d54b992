"""The image augmentation that people know from Keras, under its names, without Keras.

    from tenfold.keras import ImageDataGenerator
    generator = ImageDataGenerator(rotation_range=20, horizontal_flip=True, rescale=1 / 255)
    for images, labels in generator.flow(x, y, batch_size=32): ...

files.py                    image files as arrays and back; which files are images
affine_transformations.py   changes to one image: turn, shift, shear, zoom, flip, channel shift, brightness
batches.py                  the same for a whole batch, in one pass over the pixels
parameters.py               how the parameters of a transformation are drawn
iterator.py                 the order of samples, seeds, batches of files
numpy_array_iterator.py, directory_iterator.py, dataframe_iterator.py   the three sources of batches
image_data_generator.py     ImageDataGenerator

Names, arguments, attributes and errors are those of `keras_preprocessing.image`, results those of Keras 3; in what two
ways they differ stands in ImageDataGenerator's docstring. Random numbers come from NumPy's global state, in the order
in which Keras draws them, as its documented seeds ask for.
"""

from tenfold.keras import files as utils  # the name that the original's module has
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
