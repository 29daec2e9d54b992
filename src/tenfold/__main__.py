"""The command line: `tenfold COMMAND`, or `python -m tenfold COMMAND`.

To add a command: a file in commands/ with one function, and its line in COMMANDS.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group, Parameter, UnknownOptionError, UnusedCliTokensError

from tenfold.errors import DataError, Interrupted, TenfoldError, UsageError, nearest

COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("tenfold.commands.check:check", "Find what is wrong with images before training on them."),
    "convert": ("tenfold.commands.convert:convert", "Write images with boxes as Pascal VOC, COCO json or YOLO."),
    "split": ("tenfold.commands.split:split", "Divide images into train, validation and test parts."),
    "augment": ("tenfold.commands.augment:augment", "Show what a policy makes of images, and which ops break labels."),
    "proposals": ("tenfold.commands.proposals:proposals", "Propose boxes for objects, and count what they cover."),
    "weights": ("tenfold.commands.weights:weights", "Show which pretrained weights are here, and bring others."),
    "train": ("tenfold.commands.train:train", "Train a network on images, or go on with a run that was stopped."),
    "extend": ("tenfold.commands.extend:extend", "Add classes or images to a run, its network as it is, in seconds."),
    "evaluate": ("tenfold.commands.evaluate:evaluate", "Measure a run on one part of its images, with intervals."),
    "compare": ("tenfold.commands.compare:compare", "Tell whether one run is better than another beyond chance."),
    "curve": ("tenfold.commands.curve:curve", "Say whether more images would help, from trainings on fewer."),
    "predict": ("tenfold.commands.predict:predict", "Tell what is in images that nobody has labelled."),
    "gallery": ("tenfold.commands.gallery:gallery", "Enroll people or things by a few images, and find them again."),
    "report": ("tenfold.commands.report:report", "Write a run's report, one page that needs no network."),
    "cache": ("tenfold.commands.cache:cache", "Show or clear the cache of decoded images and features."),
    "doctor": ("tenfold.commands.doctor:doctor", "Say what this machine has, what is missing and how to get it."),
}
"""In the order of the flow: name -> where its function is (imported when it is asked for), and one line of help."""

EXIT_CODES = {Interrupted: 130, UsageError: 2, DataError: 3, TenfoldError: 1}
"""What an error says to the shell; the first that fits counts."""

ABOUT = """From a folder of images to a classifier whose accuracy you can believe.

For example, with a folder `flowers` that has one folder for each class in it:

    tenfold train flowers
    tenfold evaluate runs/flowers-1 --part test
    tenfold report runs/flowers-1

`tenfold COMMAND --help` says more of each command.

Exit codes: 0 fine, 1 findings or a failed expectation, 2 usage, 3 data that
cannot be read, 130 stopped by Ctrl-C.
"""


def make_app(asked: str = "") -> App:
    """The command line. The help of the command that is `asked` for is its docstring, which only then is loaded."""
    app = App(
        name="tenfold",
        help=ABOUT,
        help_format="plaintext",
        group_parameters=Group("Options", sort_key=0),
        default_parameter=Parameter(negative=(), show_default=_default),
        version=_version,
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    for place, (name, (function, line)) in enumerate(COMMANDS.items()):
        app.command(function, name=name, help=None if name == asked else line, sort_key=place)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code. Errors are one sentence on stderr, without a traceback."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    _never_fail_to_print()
    try:
        code: int = make_app(tokens[0] if tokens else "")(tokens) or 0
        sys.stdout.flush()
        return code
    except CycloptsError as error:
        return _fail(_sentence(error), 2)
    except Interrupted as error:
        return _fail(error, EXIT_CODES[Interrupted], "")
    except TenfoldError as error:
        return _fail(error, next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
    except BrokenPipeError:  # the reader of our output left, as `head` does
        _close_output()
        return 1
    except OSError as error:
        _flush_or_close_output()
        return _fail(f"{error.filename or 'The output'}: {error.strerror or error}.", 3)  # write_file names its file
    except KeyboardInterrupt:
        return _fail("Stopped by Ctrl-C.", EXIT_CODES[Interrupted], "")


def _fail(error: object, code: int, kind: str = "error: ") -> int:
    print(f"{kind}{error}", file=sys.stderr)
    return code


def _sentence(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        chain, unused = [*(error.command_chain or ())], [*(error.unused_tokens or ())]
        command = " ".join(["tenfold", *chain])
        options = _options(make_app()[chain[0]]) if chain else []
        hint = f" Did you mean --{unused[0]}?" if unused and f"--{unused[0]}" in options else ""
        return f"No argument of {command} takes {' '.join(unused)!r}; see {command} --help.{hint}"
    if isinstance(error, UnknownOptionError) and error.command_chain:
        typed = (error.token.keyword or error.token.value).partition("=")[0]
        near = nearest(typed, _options(make_app()[error.command_chain[0]]))
        return f"Unknown option: {typed}. Did you mean {near}?"
    return str(error)


def _options(command: App) -> list[str]:
    """The names of a command's options."""
    names = (name for argument in command.assemble_argument_collection() for name in argument.names)
    return [*(name for name in names if name.startswith("--")), "--help"]


def _default(value: object) -> object:
    """What the help says an option is when it is not given; nothing where that is "not given"."""
    return None if value is False or value in (None, "", ()) else value


def _never_fail_to_print() -> None:
    """Write names that the console's encoding lacks as escapes: a class "hoa hồng 🌹" must not end a run on Windows."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream of the caller's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _flush_or_close_output() -> None:
    try:
        sys.stdout.flush()
    except OSError:  # it is itself on the full disk
        _close_output()


def _close_output() -> None:
    """Point stdout to nowhere, so that Python's last flush does not fail too (docs.python.org, SIGPIPE)."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version() -> str:
    from importlib.metadata import version

    return version("tenfold")


if __name__ == "__main__":
    sys.exit(main())
