"""The ops of a policy: one literal that names them all.

parameter.py   ranges, parameters, and what is known about an op
geometry.py    ops that move pixels: matrices
color.py       ops that change colors: affine maps of the channels, and tone curves
pixels.py      ops that need neighbors or a histogram
"""

from tenfold.augment.ops import color, geometry, pixels
from tenfold.augment.ops.parameter import Kind, Parameter, Range

__all__ = ["OPS", "Kind", "Parameter", "Range"]

_ANYWHERE = Range(0.0, 1.0)


def _place(name: str) -> Parameter:
    """Where something lies in the room that it has, or which noise: from 0 to 1, anywhere unless given."""
    return Parameter(name, 0, 1, default=_ANYWHERE, spoken=False)


def _part(name: str, most: float, unit: str = "") -> Parameter:
    """One of several like numbers of an op, each with its own range: 0 unless given."""
    return Parameter(name, -most, most, "either", Range(0.0, 0.0), unit)


_CHANGE = (Parameter("change", -1, 10, "either"),)
_VIEW = "Ahmad, Muhammad and Baik 2017, PLoS ONE 12(8) e0183838"

OPS: dict[str, Kind] = {
    # Geometry
    "identity": Kind("geometry", geometry.identity, "Nothing: for choices that may leave the image as it is."),
    "rotate": Kind(
        "geometry",
        geometry.rotate,
        "Rotation about the centre, counter-clockwise.",
        (Parameter("degrees", -360, 360, "either", unit="°"),),
    ),
    "shift": Kind(
        "geometry",
        geometry.shift,
        "Translation, as shares of the sides.",
        (_part("x", 2), _part("y", 2)),
        leading=2,
    ),
    "shift_pixels": Kind(
        "geometry",
        geometry.shift_pixels,
        "Translation in pixels.",
        (_part("x", 4096, " px"), _part("y", 4096, " px")),
        leading=2,
    ),
    "shear": Kind(
        "geometry",
        geometry.shear,
        "Shear about the centre, by angles.",
        (_part("x", 89, "°"), _part("y", 89, "°")),
    ),
    "skew": Kind(
        "geometry",
        geometry.skew,
        "Shear from the upper left corner, by slopes: ShearX and ShearY of AutoAugment (Cubuk et al. 2019).",
        (_part("x", 10), _part("y", 10)),
    ),
    "zoom": Kind(
        "geometry",
        geometry.zoom,
        "Larger or smaller by a share: both sides alike, or each on its own.",
        tuple(Parameter(name, -0.9, 10, "either", Range(0.0, 0.0)) for name in ("both", "x", "y")),
    ),
    "flip": Kind(
        "geometry",
        geometry.flip,
        "Left for right, or top for bottom.",
        (Parameter("direction", 0, 1, choices=("horizontal", "vertical")),),
    ),
    "turn": Kind(
        "geometry",
        geometry.turn,
        "Quarter turns, counter-clockwise; an image that is not square is squeezed into the output.",
        (Parameter("quarters", 0, 3, "exactly", unit=" quarters", whole=True),),
    ),
    "crop": Kind(
        "geometry",
        geometry.crop,
        "A part of the image, stretched to the output (Szegedy et al. 2015, section 6).",
        (
            Parameter("scale", 0.001, 1, "down to"),
            Parameter("aspect", 0.01, 100, "ratio", Range(3 / 4, 4 / 3), even_in_log=True),
            _place("x"),
            _place("y"),
        ),
    ),
    "pad": Kind(
        "geometry",
        geometry.pad,
        "A border on all sides, as a share of each.",
        (Parameter("share", 0, 10, "exactly"),),
    ),
    "perspective": Kind(
        "geometry",
        geometry.perspective,
        "Each corner moves inwards by up to half of that share of the side (torchvision's RandomPerspective).",
        (Parameter("distortion", 0, 0.95, "exactly"), *(_place(f"corner_{number}") for number in range(1, 9))),
    ),
    # Color, linear
    "brightness": Kind("color", color.brightness, "Every value times 1 + change.", _CHANGE),
    "contrast": Kind("color", color.contrast, "The distance from grey level 128 times 1 + change.", _CHANGE),
    "saturation": Kind("color", color.saturation, "The distance from grey times 1 + change.", _CHANGE),
    "hue": Kind(
        "color",
        color.hue,
        "A turn about the grey axis, as a share of the circle.",
        (Parameter("turn", -0.5, 0.5, "either"),),
    ),
    "channel_shift": Kind(
        "color",
        color.channel_shift,
        "Grey levels added to each channel.",
        (_part("red", 255), _part("green", 255), _part("blue", 255)),
        leading=3,
    ),
    "grey": Kind(
        "color",
        color.grey,
        "Without color (luma in all channels).",
        (Parameter("amount", 0, 1, default=Range(1.0, 1.0), spoken=False),),
    ),
    "invert": Kind(
        "color",
        color.invert,
        "The negative.",
        (Parameter("amount", 0, 1, default=Range(1.0, 1.0), spoken=False),),
    ),
    # Tone curves
    "solarize": Kind(
        "tone",
        color.solarize,
        "The negative of values from the threshold on.",
        (Parameter("threshold", 0, 255, "down to"),),
    ),
    "posterize": Kind(
        "tone",
        color.posterize,
        "Only the first bits of each value.",
        (Parameter("bits", 0, 8, "down to", unit=" bits", whole=True),),
    ),
    "gamma": Kind(
        "tone",
        color.gamma,
        "A power of each value; the exponent is above 0.",
        (Parameter("exponent", 0.01, 100, "ratio", even_in_log=True),),
    ),
    # Pixels
    "equalize": Kind("pixels", pixels.equalize, "Each channel's histogram made even."),
    "autocontrast": Kind("pixels", pixels.autocontrast, "Each channel stretched to 0 to 255."),
    "contrast_about_mean": Kind(
        "pixels",
        pixels.contrast_about_mean,
        "The distance from the image's mean luma times 1 + change: contrast as Pillow has it.",
        _CHANGE,
    ),
    "sharpness": Kind(
        "pixels",
        pixels.sharpness,
        "The distance from a smoothed image times 1 + change.",
        _CHANGE,
    ),
    "blur": Kind(
        "pixels",
        pixels.blur,
        "Gaussian blur.",
        (Parameter("sigma", 0, 64, "up to", unit=" px"),),
    ),
    "noise": Kind(
        "pixels",
        pixels.noise,
        "Gaussian noise, in grey levels.",
        (Parameter("sigma", 0, 255, "up to"), _place("seed")),
    ),
    "jpeg": Kind(
        "pixels",
        pixels.jpeg,
        "Artefacts of JPEG.",
        (Parameter("quality", 1, 100, "down to", whole=True),),
    ),
    "cutout": Kind(
        "pixels",
        pixels.cutout,
        "A square of one grey level, centred anywhere (DeVries and Taylor 2017).",
        (
            Parameter("size", 0, 2, "exactly"),
            _place("x"),
            _place("y"),
            Parameter("value", 0, 255, default=Range(128.0, 128.0), spoken=False),
        ),
    ),
    "erase": Kind(
        "pixels",
        pixels.erase,
        "A rectangle of noise (Random Erasing, Zhong et al. 2020).",
        (
            Parameter("area", 0, 1, "up to"),
            Parameter("aspect", 0.01, 100, "ratio", Range(0.3, 1 / 0.3), even_in_log=True),
            _place("x"),
            _place("y"),
            _place("seed"),
        ),
    ),
    "detexture": Kind("pixels", pixels.detexture, f"Without texture: edge-preserving smoothing ({_VIEW})."),
    "decolor": Kind("pixels", pixels.decolor, f"Without color ({_VIEW})."),
    "edges": Kind("pixels", pixels.edges, f"With stronger edges ({_VIEW})."),
    "saliency": Kind("pixels", pixels.saliency, f"The map of salient edges ({_VIEW})."),
}
"""Name -> what is known about it, in the order of the documentation."""

_BRIGHT = ("brightness", "contrast")
_JITTER = (*_BRIGHT, "saturation", "hue")

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "adjustsharpness": ("sharpness",),
    "affine": ("shift", "zoom", "rotate", "shear"),
    "brightnesscontrast": _BRIGHT,
    "choice": ("choose",),
    "coarsedropout": ("cutout", "erase"),
    "color": ("saturation",),
    "colorjitter": _JITTER,
    "compose": ("chain",),
    "erasing": ("erase",),
    "gaussianblur": ("blur",),
    "gaussiannoise": ("noise",),
    "gaussnoise": ("noise",),
    "gray": ("grey",),
    "grayscale": ("grey",),
    "heightshift": ("shift",),
    "horizontalflip": ("flip",),
    "huesaturationvalue": ("hue", "saturation", "brightness"),
    "imagecompression": ("jpeg",),
    "invertimg": ("invert",),
    "mirror": ("flip",),
    "oneof": ("choose",),
    "photometricdistort": _JITTER,
    "resizedcrop": ("crop",),
    "rgbshift": ("channel_shift",),
    "rotate90": ("turn",),
    "rotation": ("rotate",),
    "saferotate": ("rotate",),
    "sequential": ("chain",),
    "sharpen": ("sharpness",),
    "shiftscalerotate": ("shift", "zoom", "rotate"),
    "someof": ("choose",),
    "togray": ("grey",),
    "translate": ("shift",),
    "verticalflip": ("flip",),
    "widthshift": ("shift",),
    "zoomout": ("pad",),
}
"""What ops are called elsewhere, in small letters without `_`, Random before it and Range behind it -> what does it
here, for the error that names ours."""
