"""Completion for bash, zsh and fish: a script for each, made from the options' declaration.

The scripts complete by themselves, without starting us at every press of Tab, and
nothing that was typed is evaluated. After the program's name the shell completes as it
would without us.
"""

import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from typer.core import TyperArgument

from cmemrun.errors import OutputError

__all__ = ["SHELLS", "install", "script"]

# What stands for a place in the file system, as the options call it.
_PLACES = {"FILE", "PATH", "GROUP"}
_NAMES = "[NAME]..."


class _Word(NamedTuple):
    """An option, as a shell is to know it."""

    flags: tuple[str, ...]
    help: str
    values: tuple[str, ...]
    """What follows it, by name."""
    choices: tuple[str, ...]
    """All that may follow it, where that is known."""
    repeated: bool

    @property
    def is_place(self) -> bool:
        return len(self.values) == 1 and not _PLACES.isdisjoint(self.values[0].split("|"))


class _Verb(NamedTuple):
    name: str
    help: str
    words: list[_Word]
    runs: bool
    """Whether a program follows its options."""
    reads: bool
    """Whether files do."""


def script(shell: str, command_line: Any) -> str:
    """What a shell is to read at its start; ``command_line`` is typer's."""
    return _WRITERS[shell]([_verb(verb) for verb in command_line.commands.values()])


def install(shell: str, command_line: Any) -> str:
    """Put the script where the shell finds it, and tell where that is."""
    home = Path(os.path.expanduser("~"))
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    # Where bash-completion looks too, if that is there; fish looks by itself.
    path, start = {
        "bash": (data / "bash-completion/completions/cmemrun", home / ".bashrc"),
        "zsh": (
            data / "zsh/site-functions/_cmemrun",
            Path(os.environ.get("ZDOTDIR") or home) / ".zshrc",
        ),
        "fish": (config / "fish/completions/cmemrun.fish", None),
    }[shell]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script(shell, command_line), encoding="utf-8")
        if start is None:
            return f"completion for {shell} is in {path}"
        # In bytes: what else is in there may be in any encoding.
        line = os.fsencode(f"[ ! -r {shlex.quote(str(path))} ] || . {shlex.quote(str(path))}")
        if not start.exists() or line not in start.read_bytes().splitlines():
            with start.open("ab") as file:
                file.write(b"\n" + line + b"\n")
    except OSError as error:
        raise OutputError(
            f"cannot write {error.filename!r}: {error.strerror}",
            hint=f"put it where you like: cmemrun --show-completion {shell} > FILE",
        ) from error
    return f"completion for {shell} is in {path}, which {start} reads from the next shell on"


def _verb(verb: Any) -> _Verb:
    options = [one for one in verb.params if not isinstance(one, TyperArgument)]
    arguments = [one.metavar for one in verb.params if isinstance(one, TyperArgument)]
    words = [_word(one) for one in options]
    words.append(_Word(("-h", "--help"), "Show this message and exit.", (), (), False))
    return _Verb(
        verb.name,
        verb.help.partition("\n")[0],
        words,
        runs=not verb.context_settings["allow_interspersed_args"],
        # But for the names of check's commands they are all files.
        reads=bool(arguments) and _NAMES not in arguments,
    )


def _word(option: Any) -> _Word:
    choices = tuple(getattr(option.type, "choices", ()))
    values = tuple((option.metavar or "VALUE").split())
    return _Word(
        (*option.opts, *option.secondary_opts),
        option.help,
        () if option.is_flag else values,
        tuple(getattr(one, "value", one) for one in choices),
        option.multiple,
    )


def _filled(template: str, **parts: str) -> str:
    for name, text in parts.items():
        template = template.replace(f"@{name}@", text)
    return template


def _bash(verbs: list[_Verb]) -> str:
    takes, offers, flags = [], [], []
    for verb in verbs:
        named = [flag for word in verb.words for flag in word.flags if flag.startswith("--")]
        flags.append(f"[{verb.name}]={_quoted(' '.join(named))}")
        for word in verb.words:
            for flag in word.flags if word.values else ():
                takes.append(f"['{verb.name} {flag}']={len(word.values)}")
                if word.choices:
                    offers.append(f"['{verb.name} {flag}']={_quoted(' '.join(word.choices))}")
                elif word.is_place:
                    offers.append(f"['{verb.name} {flag}']=/")
    return _filled(
        _BASH,
        verbs="|".join(verb.name for verb in verbs),
        names=" ".join(verb.name for verb in verbs),
        running="|".join(verb.name for verb in verbs if verb.runs),
        reading="|".join(verb.name for verb in verbs if verb.reads),
        takes="\n    ".join(takes),
        offers="\n    ".join(offers),
        flags="\n    ".join(flags),
    )


_BASH = """\
# Completion of cmemrun for bash, made by cmemrun --show-completion bash.
declare -gA _cmemrun_flags=(
    @flags@
)
# How many words an option takes, and which: a slash is any file.
declare -gA _cmemrun_takes=(
    @takes@
)
declare -gA _cmemrun_offers=(
    @offers@
)

_cmemrun() {
    local verb=run flag='' left=0 program='' runs=0 reads=0 i
    local -a words=() places=()
    COMPREPLY=()
    # Bash takes words apart at = and :, which a program's name or a value may have.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        if ((i > 1)) && [[ ${COMP_WORDS[i]} =~ ^[=:]+$ || ${COMP_WORDS[i - 1]} =~ ^[=:]+$ ]]; then
            words[-1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}") places+=("$i")
        fi
    done
    local last=$((${#words[@]} - 1)) word=${words[-1]}
    i=0
    if ((last > 0)); then
        case ${words[0]} in @verbs@) verb=${words[0]} i=1 ;; esac
    fi
    case $verb in @running@) runs=1 ;; @reading@) reads=1 ;; esac
    for (( ; i < last; i++)); do
        if ((left)); then
            ((left--))
            continue
        fi
        case ${words[i]} in
            --) program=$((i + 1)) && break ;;
            --*=*) ;;
            -?*) flag=${words[i]} left=${_cmemrun_takes["$verb $flag"]:-0} ;;
            *) ((!runs)) || { program=$i && break; } ;;
        esac
    done
    if [[ $program ]] && ((program < last)); then
        # As the program would have it; without bash-completion that is files.
        declare -F _command_offset > /dev/null && _command_offset "${places[program]}"
        return
    fi
    if [[ ! $program ]] && ((!left)) && [[ $word == --*=* ]]; then
        flag=${word%%=*} word=${word#*=} left=1
    fi
    if ((left)); then
        local offered=${_cmemrun_offers["$verb $flag"]:-}
        [[ $offered == / ]] && return
        compopt +o default +o bashdefault 2> /dev/null
        mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$word")
        return
    fi
    if [[ ! $program && $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${_cmemrun_flags[$verb]}" -- "$word")
    elif ((runs)); then
        ((last)) || mapfile -t COMPREPLY < <(compgen -W '@names@' -- "$word")
        # Every program there is would be no help.
        [[ ! $word ]] || mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -c -- "$word")
    elif ((!reads)); then
        compopt +o default +o bashdefault 2> /dev/null
    fi
}
complete -o bashdefault -o default -F _cmemrun cmemrun
"""


def _zsh(verbs: list[_Verb]) -> str:
    cases = []
    for verb in verbs:
        specs = [spec for word in verb.words for spec in _zsh_specs(word)]
        if verb.runs:
            specs += ["'(-)1:program:_command_names -e'", "'*::arguments:_normal'"]
        elif verb.reads:
            specs.append("'*:file:_files'")
        specs = [" \\\n            ".join(["_arguments -s -S :", *specs])]
        cases.append(f"        {verb.name})\n            {specs[0]}\n            ;;")
    told = [_quoted(f"{verb.name}:{verb.help}") for verb in verbs]
    return _filled(
        _ZSH,
        verbs="|".join(verb.name for verb in verbs),
        told="\n        ".join(told),
        cases="\n".join(cases),
    )


def _zsh_specs(word: _Word) -> list[str]:
    alone = "*" if word.repeated else f"({' '.join(word.flags)})"
    text = word.help
    for special in "\\[]":
        text = text.replace(special, f"\\{special}")
    if word.choices:
        actions = [f"({' '.join(word.choices)})"]
    else:
        actions = ["_files" if word.is_place else " "] * len(word.values)
    tail = "".join(
        f":{name.replace(':', chr(92) + ':')}:{action}"
        for name, action in zip(word.values, actions, strict=True)
    )
    # What takes one word takes it behind = too; so does one letter without any.
    signs = {True: "=", False: "+"} if len(word.values) == 1 else {True: "", False: ""}
    return [
        _quoted(f"{alone}{flag}{signs[flag.startswith('--')]}[{text}]{tail}") for flag in word.flags
    ]


_ZSH = """\
#compdef cmemrun
# Completion of cmemrun for zsh, made by cmemrun --show-completion zsh.
_cmemrun() {
    local curcontext=$curcontext verb=run
    typeset -A opt_args
    local -a verbs=(
        @told@
    )
    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
        _describe -t verbs verb verbs
        [[ -z $words[2] ]] || _command_names -e
        return
    fi
    case $words[2] in
        @verbs@)
            verb=$words[2]
            shift words
            (( CURRENT-- ))
            ;;
    esac
    case $verb in
@cases@
    esac
}
if [[ $funcstack[1] == _cmemrun ]]; then
    _cmemrun "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef _cmemrun cmemrun
fi
"""


def _fish(verbs: list[_Verb]) -> str:
    lines, takes = [], []
    for verb in verbs:
        told = _fish_quoted(verb.help)
        lines.append(f"complete -c cmemrun -n '__cmemrun_at start' -a {verb.name} -d {told}")
        if verb.reads and not verb.runs:
            lines.append(f"complete -c cmemrun -n '__cmemrun_at {verb.name}' -F")
        for word in verb.words:
            lines.append(_fish_line(verb.name, word))
            takes += [
                f"'{verb.name} {flag} {len(word.values)}'" for flag in word.flags if word.values
            ]
    return _filled(
        _FISH,
        verbs=" ".join(verb.name for verb in verbs),
        running=" ".join(verb.name for verb in verbs if verb.runs),
        takes=" \\\n    ".join(takes),
        lines="\n".join(lines),
    )


def _fish_line(verb: str, word: _Word) -> str:
    parts = [f"complete -c cmemrun -n '__cmemrun_at {verb}'"]
    parts += [f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in word.flags]
    if word.choices:
        parts.append(f"-x -a '{' '.join(word.choices)}'")
    elif word.values:
        parts.append("-r -F" if word.is_place else "-x")
    return " ".join([*parts, f"-d {_fish_quoted(word.help)}"])


_FISH = """\
# Completion of cmemrun for fish, made by cmemrun --show-completion fish.
set -g __cmemrun_takes \\
    @takes@

# Where the cursor is: at the start, among a verb's options, at the program or its arguments.
# The words from the program on are left in __cmemrun_program.
function __cmemrun_places
    set -l words (commandline -opc)
    set -e words[1]
    set -g __cmemrun_program
    if not set -q words[1]
        printf '%s\\n' start run program
        return
    end
    set -l verb run
    if contains -- $words[1] @verbs@
        set verb $words[1]
        set -e words[1]
    end
    while set -q words[1]
        set -l word $words[1]
        switch $word
            case --
                set -e words[1]
                set -g __cmemrun_program $words
                set -q words[1]; and echo arguments; or echo program
                return
            case '-*'
                set -e words[1]
                set -l typed (string escape --style=regex -- $word)
                set -l left (string match -r -- "^$verb $typed (\\\\d)\\$" $__cmemrun_takes)[2]
                while test -n "$left"; and test "$left" -gt 0; and set -q words[1]
                    set -e words[1]
                    set left (math $left - 1)
                end
            case '*'
                if contains -- $verb @running@
                    set -g __cmemrun_program $words
                    echo arguments
                    return
                end
                set -e words[1]
        end
    end
    echo $verb
    contains -- $verb @running@; and echo program
end

function __cmemrun_at
    contains -- $argv[1] (__cmemrun_places)
end

# Every program there is would be no help.
function __cmemrun_runs
    __cmemrun_at arguments; or __cmemrun_at program; and string length -q -- (commandline -ct)
end

function __cmemrun_as_without_us
    complete -C (string join ' ' -- (string escape -- $__cmemrun_program) (commandline -ct))
end

complete -c cmemrun -e
complete -c cmemrun -f
complete -c cmemrun -n __cmemrun_runs -a '(__cmemrun_as_without_us)'
@lines@
"""


def _quoted(text: str) -> str:
    """For bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_WRITERS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

SHELLS = tuple(_WRITERS)
