"""`genseg completion bash|zsh|fish`: a script by which a shell completes commands, options, groups, members and keys.

The script asks `genseg __complete` at every TAB, which answers from the tables that the help and the check of a config
are made of. Libraries complete argparse alone; most of what is typed here are overrides. Nothing is offered where a
file is expected: the shell offers files itself.
"""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence

from genseg_betty.commands.keys import find_keys, list_values
from genseg_betty.commands.shared import Action, make_parser
from genseg_betty.config import all_members, user_folder
from genseg_betty.errors import UserError

SCRIPTS = {
    "bash": """\
_genseg() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" __complete "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null))
    [[ ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -F _genseg genseg
""",
    "zsh": """\
#compdef genseg
_genseg() {
    local -a found
    found=("${(@f)$("${words[1]}" __complete $((CURRENT - 1)) "${words[@]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -S '' -- ${(M)found:#*[=.]}
        compadd -- ${found:#*[=.]}
    else
        compset -P '*='
        _files
    fi
}
compdef _genseg genseg
""",
    "fish": """\
function __genseg_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -a words "$current"
    set -l found ($words[1] __complete (math (count $words) - 1) $words 2>/dev/null)
    if test -n "$found"
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c genseg -f -a '(__genseg_complete)'
""",
}

Actions = Mapping[str, Action]
Verbs = Mapping[str, Action | Actions]
KEYS_OF_DATASETS = ("ood", "dataset.ood")  # keys whose values are names of data sets


def complete_word(cursor: int, words: Sequence[str], train: argparse.ArgumentParser, verbs: Verbs) -> list[str]:
    """What may stand at the cursor.

    Args:
        cursor: the number of the word that is typed.
        words: those of the command line, the program's name first. bash cuts them at `=`, other shells do not.
        train: the options of a training.
        verbs: the other commands; one with actions of its own has a table of them.

    Returns the candidates in the place of `words[cursor]`; none where a file is expected.
    """
    joined, cut = _join_cut_words(words[1 : cursor + 1])
    *before, current = joined or [""]
    try:
        found = _list_candidates(before, current, train, verbs)
    except UserError:  # such as a --config-dir that is not there yet
        return []
    return [word[cut:] for word in found if word.startswith(current)]


def _join_cut_words(words: Sequence[str]) -> tuple[list[str], int]:
    """The words without the cuts at `=`, and how many letters of the last one stand before the shell's own word."""
    joined: list[str] = []
    cut = 0
    previous = ""
    for word in words:
        if joined and "=" in (word, previous):
            cut = len(joined[-1]) + (word == "=")
            joined[-1] += word
        else:
            cut = 0
            joined.append(word)
        previous = word
    return joined, cut


def _list_candidates(before: list[str], current: str, train: argparse.ArgumentParser, verbs: Verbs) -> list[str]:
    """What may be typed after the words `before`, of which `current` is not yet one."""
    is_help = before[:1] == ["help"]
    words = before[1:] if is_help else before
    first = words[0] if words else ""
    action = verbs.get(first)
    # A verb with actions of its own, such as data: the second word names the action.
    if isinstance(action, Mapping):
        if len(words) == 1:
            return list(action)
        action = action.get(words[1])
        words = words[1:]
    if is_help:
        return [] if words else ["train", *verbs]
    if action is not None:
        return _complete_verb(make_parser(first, action), words[1:], current)
    names = [] if words else ["help", "train", *verbs]
    return names + _complete_training(train, words, current)


def _complete_training(parser: argparse.ArgumentParser, before: list[str], current: str) -> list[str]:
    """Candidates of a training's options and overrides."""
    values = _complete_option(parser, before, current)
    if values is not None:
        return values
    chosen = {}
    for word in before:
        key, equals, value = word.lstrip("+").partition("=")
        if equals:
            chosen[key] = value
    plain = current.lstrip("+~")
    sign = current[: len(current) - len(plain)]
    found = _complete_override(plain, _list_members(before), chosen)
    return [f"{sign}{word}" for word in found]


def _complete_verb(parser: argparse.ArgumentParser, before: list[str], current: str) -> list[str]:
    """Candidates of a verb's arguments: a data set's name or keys, or nothing where files are expected."""
    values = _complete_option(parser, before, current)
    if values is not None:
        return values
    positional = [action for action in parser._actions if not action.option_strings]
    if not positional:
        return []
    given = [word for word in before if not word.startswith("-")]
    last = len(positional) - 1
    expected = positional[min(len(given), last)]
    if expected.choices:
        return [str(choice) for choice in expected.choices]
    members = _list_members(before)
    if expected.metavar == "DATASET":
        return members["dataset"]
    if expected.metavar == "KEY=VALUE":
        found = _complete_override(f"dataset.{current}", members, {})
        return [word.removeprefix("dataset.") for word in found if word.startswith("dataset.")]
    return []


def _complete_option(parser: argparse.ArgumentParser, before: list[str], current: str) -> list[str] | None:
    """Options, or the values of the one before the cursor; None where neither is typed."""
    for option in parser._actions:
        if before and before[-1] in option.option_strings and option.nargs is None:
            return _list_option_values(option, before)
    if not current.startswith("-"):
        return None
    return [name for option in parser._actions for name in option.option_strings]


def _list_option_values(option: argparse.Action, before: list[str]) -> list[str]:
    if option.metavar == "NAME":
        return _list_members(before)["dataset"]
    return [str(choice) for choice in option.choices or ()]


def _complete_override(current: str, members: Mapping[str, Sequence[str]], chosen: Mapping[str, str]) -> list[str]:
    """`back` -> `backbone=`, `backbone=un` -> `backbone=unet`, …; keys one section at a time."""
    key, equals, value = current.partition("=")
    keys = find_keys(chosen)
    if equals:
        names = members["dataset"] if key in KEYS_OF_DATASETS else list_values(keys.get(key))
        # Of several values, or of a list, the last one is completed.
        start = re.sub(r"[^,\[]*$", "", value)
        return [f"{key}={start}{name}" for name in members.get(key) or names]
    depth = current.count(".")
    groups = [] if depth else [f"{group}=" for group in members]
    steps = [_take_step(name, depth) for name in keys if name.count(".") >= depth]
    return groups + list(dict.fromkeys(steps))


def _take_step(name: str, depth: int) -> str:
    """A key up to the section that comes next: `trainer.optimizers.segmenter.lr` -> `trainer.`."""
    parts = name.split(".")
    taken = ".".join(parts[: depth + 1])
    is_whole = len(parts) == depth + 1
    return f"{taken}=" if is_whole else f"{taken}."


def _list_members(words: Iterable[str]) -> dict[str, list[str]]:
    """Every group with its members, those of the last --config-dir among the words included."""
    folder: str | None = None
    previous = ""
    for word in words:
        if previous == "--config-dir":
            folder = word
        previous = word
    return all_members(user_folder(folder))
