"""What a terminal gets that is not the app: completion of commands in a shell, and plain text."""

from __future__ import annotations

import argparse
from pathlib import Path

from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK

_NAMES = """datasize-tui experiments --project "$project" 2> /dev/null | awk 'NR > 1 { print $1 }'"""
_EXPERIMENTS = {
    "bash": f"""_datasize_experiments() {{
  local at project=.
  for ((at = 1; at < COMP_CWORD; at++)); do
    [[ ${{COMP_WORDS[at]}} == --project ]] && project=${{COMP_WORDS[at + 1]}}
  done
  compgen -W "$({_NAMES})" -- "$1"
}}""",
    "zsh": f"""_datasize_experiments() {{
  local project=${{words[${{words[(i)--project]}} + 1]:-.}}
  compadd -- ${{(f)"$({_NAMES})"}}
}}""",
    "fish": f"""function _datasize_experiments
  set -l words (commandline -opc) .
  set -l project $words[(math (contains -i -- --project $words; or math (count $words) - 1) + 1)]
  {_NAMES}
end""",
}
"""What completes a name in each shell: the names that the project has just then."""


def completion(arguments: argparse.Namespace) -> int:
    """Print the script by which a shell completes commands, options, files and experiments."""
    import shtab

    from tui_datasize.cli.parser import build_parser

    parser = build_parser()
    for each in (parser, *_commands(parser)):
        for action in each._actions:
            if action.type is Path:
                kind = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
                action.complete = kind  # type: ignore[attr-defined]
            elif action.metavar == "EXPERIMENT":
                names = dict.fromkeys(_EXPERIMENTS, "_datasize_experiments")
                names["fish"] = "(_datasize_experiments)"
                action.complete = names  # type: ignore[attr-defined]
    print(shtab.complete(parser, arguments.shell, preamble=_EXPERIMENTS))
    return EXIT_OK


def config(arguments: argparse.Namespace) -> int:
    """Show what holds for the app, or every mistake of the file that says so."""
    from tui_datasize.cli.basics import talk
    from tui_datasize.tui.preferences import described, load_preferences, preferences_file

    file = preferences_file()
    preferences, mistakes = load_preferences()
    for mistake in mistakes:
        talk(mistake.line)
    if arguments.action == "show":
        print(f"# {file}{'' if file.exists() else ': not there yet, as usual:'}")
        print(described(preferences))
    elif not mistakes:
        talk(f"{file}: {'no mistakes' if file.exists() else 'not there: all is as usual'}")
    return EXIT_BAD_INPUT if mistakes else EXIT_OK


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return list(commands.choices.values())


def plain_screen(arguments: argparse.Namespace) -> int:
    """Show the queue as text, where the terminal cannot move its cursor, and what to do without the app."""
    from tui_datasize.cli.basics import project_paths, talk
    from tui_datasize.cli.status import status

    paths = project_paths(arguments)
    shown = status(argparse.Namespace(project=arguments.project, experiment=None, json=False))
    talk("the app needs a terminal that can move its cursor, and TERM says that this one cannot")
    if not paths.experiments.exists():
        talk("no experiments here yet: `datasize-tui demo` runs a small sweep, `experiments --template`")
        talk("prints an experiments.toml to begin with, `import NAME FILE` brings results in")
    talk("here: `datasize-tui status`, `queue EXPERIMENT`, `analyze EXPERIMENT`, `logs JOB -f`, `--help`")
    return shown
