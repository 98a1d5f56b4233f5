"""Finds the verb, runs it, and turns what went wrong into words and an exit code."""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from rsna.cli import board, data, evaluation, inference, training
from rsna.cli.verb import Verb, speaks_for_itself
from rsna.config.settings import ConfigError

VERBS = {
    verb.name: verb
    for module in (training, data, evaluation, inference, board)
    for verb in vars(module).values()
    if isinstance(verb, Verb)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``rsna VERB key=value …``.

    Returns:
        Exit code: 0 done, 1 an answer of no (a leak, a failed check) or something wrong with data, 2 wrong usage,
        130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        rows = "\n".join(f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS.values())
        head = "rsna VERB key=value …    (rsna VERB --help for its keys and examples; rsna --version)"
        print(f"{head}\n\n{rows}\n\nFor research, not a medical device.")
        return 0 if given else 2
    if given == ["--version"]:
        print(f"rsna {version('rsna-mammography')}")
        return 0
    name, *rest = given
    # `folds make` and `folds check` are two words.
    if f"{name} {rest[0] if rest else ''}" in VERBS:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in VERBS:
        # A misspelt word, or the first of two.
        near = [*(verb for verb in VERBS if verb.split()[0] == name), *difflib.get_close_matches(name, VERBS, n=2)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"verbs: {', '.join(VERBS)}"
        print(f"rsna: there is no verb {name!r}; {hint}", file=sys.stderr)
        return 2
    verb = VERBS[name]
    if any(argument in ("-h", "--help") for argument in rest):
        print(verb.help())
        return 0
    try:
        return verb(rest)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except Exception as error:
        # With RSNA_DEBUG set, an error shows where it came from.
        if os.environ.get("RSNA_DEBUG") or not speaks_for_itself(error):
            raise
        print(f"rsna {name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
