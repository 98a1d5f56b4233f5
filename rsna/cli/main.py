"""Finds the verb, runs it, and turns what went wrong into words and an exit code."""

import contextlib
import difflib
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Sequence

from rsna.cli import board, cluster, data, evaluation, inference, training
from rsna.cli.verb import Verb, speaks_for_itself
from rsna.config.settings import ConfigError
from rsna.quiet import quieten_pydicom
from rsna.version import __version__

VERBS = {
    verb.name: verb
    for module in (training, data, evaluation, inference, board, cluster)
    for verb in vars(module).values()
    if isinstance(verb, Verb)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``rsna VERB key=value …``.

    Returns:
        Exit code: 0 done, 1 an answer of no (a leak, a failed check) or something wrong with data, 2 wrong usage,
        130 interrupted, 141 nobody reads the output any more.

    Raises:
        Stopped: Training was asked to stop, as by SIGTERM; the process ends with exit code 75.
    """
    quieten_pydicom()
    for stream in (sys.stdout, sys.stderr):
        # × on a terminal of ASCII, or the name of a file that is no UTF-8, may end nothing: not here, nor in workers.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:backslashreplace"
    try:
        found = _find_verb(list(sys.argv[1:] if arguments is None else arguments))
        if isinstance(found, int):
            code = found
        else:
            verb, rest = found
            try:
                code = verb(rest)
            except KeyboardInterrupt:
                print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
                code = 130
            except Exception as error:
                code = _explain(error, verb.name)
        if sys.stdout is not None:  # as `>&-` leaves it
            sys.stdout.flush()
        return code
    except OSError as error:  # of standard output: every other was said by now
        with contextlib.suppress(OSError, AttributeError):
            # Python would write what is left once more when it ends, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE  # what a shell says of a program that `| head` ended
        if os.environ.get("RSNA_DEBUG"):  # a verb's own error, which was not said
            raise
        print(f"rsna: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError, AttributeError):  # it is closed, or no file at all, as in a notebook
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _find_verb(given: list[str]) -> tuple[Verb, list[str]] | int:
    """The verb and its arguments; an exit code where there is nothing to run."""
    if given[:1] == ["help"]:
        given = [*given[1:], "--help"]
    if not given or given[0] in ("-h", "--help"):
        width = max(map(len, VERBS))
        rows = "\n".join(f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS.values())
        head = "rsna VERB key=value …    (rsna VERB --help for its keys and examples; rsna --version)"
        print(f"{head}\n\n{rows}\n\nFor research, not a medical device.")
        return 0 if given else 2
    if given == ["--version"]:
        print(f"rsna {__version__}")
        return 0
    name, *rest = given
    # `folds make` and `folds check` are two words.
    if f"{name} {rest[0] if rest else ''}" in VERBS:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in VERBS:
        # A misspelt word, or the first of two.
        near = [verb for verb in VERBS if verb.split()[0] == name] or difflib.get_close_matches(name, VERBS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"verbs: {', '.join(VERBS)}"
        print(f"rsna: there is no verb {name!r}; {hint}", file=sys.stderr)
        return 2
    verb = VERBS[name]
    if any(argument in ("-h", "--help") for argument in rest):
        print(verb.help())
        return 0
    return verb, rest


def _explain(error: Exception, name: str) -> int:
    """Says what a verb went wrong with, and returns its exit code; raises again what is nobody's mistake but ours."""
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        raise
    if isinstance(error, UnicodeEncodeError) and sys.getfilesystemencoding() != "utf-8":
        print(f"rsna {name}: {error.object!a}: this locale has no such characters; set PYTHONUTF8=1", file=sys.stderr)
        return 2
    # With RSNA_DEBUG set, an error shows where it came from.
    if os.environ.get("RSNA_DEBUG") or not speaks_for_itself(error):
        raise
    where = ""
    if type(error) is OSError and error.errno == errno.ENOSPC and not error.filename:  # ours name the file
        where = "; it is the disk of the output, of $TMPDIR or of /dev/shm"
    print(f"rsna {name}: {error}{where}", file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1
