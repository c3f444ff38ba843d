"""The verbs of `python -m skinsyn`: run, status, params, figures, stats, base-model."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .run import params, paths, pipeline


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skinsyn", description="Run the study's notebooks headlessly, and ask what they would do."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument("--profile", default="demo", help="a folder of params/ (default: demo)")
        added.add_argument("-p", dest="changed", action="append", default=[], metavar="key=value", help="change a parameter")
        return added

    runs = verb("run", "Run the stale notebooks of a profile, in order.")
    runs.add_argument("--only", nargs="+", default=[], metavar="NN", help="only these notebooks, by number")
    runs.add_argument("--force", action="store_true", help="run also what is fresh (kept units are used all the same)")
    verb("status", "Print for each notebook whether it is fresh, or why it is stale.")
    shown = verb("params", "Print every parameter of a profile, with its type and meaning.")
    shown.add_argument("--only", nargs="+", default=[], metavar="NN", help="only these notebooks, by number")
    verb("figures", "Draw every figure again from kept units, and list which notebook makes which file.")
    own = verbs.add_parser("stats", help="Analyse somebody's predictions (Parquet or CSV) as 05_fairness_stats does.")
    own.add_argument("predictions", type=Path, help="the table, by the contract of skinsyn/stats/predictions.py")
    own.add_argument("--params", nargs="+", type=Path, default=[], metavar="FILE", help="parameters of 05 in YAML")
    own.add_argument("-p", dest="changed", action="append", default=[], metavar="key=value", help="change a parameter")
    own.add_argument("--name", default="", help="of the run that is written (default: the file's name)")
    base = verbs.add_parser("base-model", help="Make the tiny base model's weights again (≤ 30 minutes on 2 cores).")
    base.add_argument("--output", type=Path, default=None, help="where to (default: runs/base_model)")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    seconds = pipeline.run(arguments.profile, arguments.only, params.overrides(arguments.changed), arguments.force)
    if seconds:
        print(f"{len(seconds)} notebooks ran in {sum(seconds.values()):.0f} s")
    print(f"Tables: {paths.run_dir(arguments.profile) / 'tables'}\nFigures: {paths.figures_dir(arguments.profile)}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    for stem, reason in pipeline.status(arguments.profile, params.overrides(arguments.changed)):
        print(f"{stem:20} {'stale: ' + reason if reason else 'fresh'}")
    return 0


def _params(arguments: argparse.Namespace) -> int:
    every = params.of_profile(arguments.profile, params.overrides(arguments.changed))
    for stem in pipeline.choose(list(every), arguments.only):
        print(f"\n{stem}")
        about = params.declared(paths.project_root() / "notebooks" / f"{stem}.ipynb")
        for name, value in every[stem].items():
            print(f"  {name}: {about[name]['type']} = {value!r}\n      {about[name]['help']}")
    return 0


def _figures(arguments: argparse.Namespace) -> int:
    pipeline.run(arguments.profile, [], params.overrides(arguments.changed), force=True)
    listed = pipeline.figures(arguments.profile)
    for name, maker in listed:
        print(f"{name:50} {maker or 'NO NOTEBOOK MAKES THIS'}")
    orphans = [name for name, maker in listed if not maker and not name.startswith("09_")]
    if orphans:
        print(f"error: {len(orphans)} files that no notebook of this run makes: {', '.join(orphans)}", file=sys.stderr)
    return 1 if orphans else 0


def _stats(arguments: argparse.Namespace) -> int:
    from .run import reanalysis
    from .stats.predictions import check_predictions

    name = arguments.name or arguments.predictions.stem
    values, lacking = reanalysis.parameters(name, arguments.params, params.overrides(arguments.changed))
    frame = reanalysis.read(arguments.predictions)
    try:
        check_predictions(frame)
    except ValueError as error:
        raise ValueError(f"{arguments.predictions}: {error}") from error
    if lacking:
        print(f"left to the notebook's own values (those of the demo): {', '.join(lacking)}")
    print(f"Tables, figures and numbers: {reanalysis.analyse(frame, values)}")
    return 0


def _base_model(arguments: argparse.Namespace) -> int:
    from .diffusion import base_model

    made = base_model.make(arguments.output or paths.runs_dir() / "base_model")
    for name, value in made.items():
        print(f"{name}: {value}")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 a notebook or check failed, 2 the call was wrong."""
    arguments = _parser().parse_args(words)
    verbs = {"run": _run, "status": _status, "params": _params, "figures": _figures, "stats": _stats}
    verbs["base-model"] = _base_model
    try:
        return verbs[arguments.verb](arguments)
    except params.ParameterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (pipeline.NotebookFailed, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
