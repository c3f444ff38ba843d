"""The verbs of `python -m skinsyn`: run, status, params, figures, base-model, image, export, plan."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .run import params, paths, pipeline, tables


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
    base = verbs.add_parser("base-model", help="Make the tiny base model's weights again (≤ 30 minutes on 2 cores).")
    base.add_argument("--output", type=Path, default=None, help="where to (default: runs/base_model)")
    again = verb("image", "Make one synthetic image again, with its batch and alone, and say whether it is the same.")
    again.add_argument("image_id", help="image_id of the table `synthetic`")
    out = verb("export", "Write the run's synthetic images as a Hugging Face dataset folder with a card.")
    out.add_argument("--output", type=Path, required=True, help="a new folder")
    out.add_argument("--license", default="other", help="licence id for the card; the real images' own licence binds you")
    cost = verb("plan", "Print what a profile's generators and images will cost, before anything is spent.")
    cost.add_argument("--gpu", default="A100", help="whose published rate to take where none can be measured")
    cost.add_argument("--price", type=float, default=0.0, help="of one GPU-hour")
    cost.add_argument(
        "--simulate", action="store_true", help="also run the books of the study's 458,920 images, without a pixel"
    )
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


def _base_model(arguments: argparse.Namespace) -> int:
    from .diffusion import base_model

    made = base_model.make(arguments.output or paths.runs_dir() / "base_model")
    for name, value in made.items():
        print(f"{name}: {value}")
    return 0


def _image(arguments: argparse.Namespace) -> int:
    from .diffusion import remake

    made = remake.image(arguments.profile, arguments.image_id)
    print(f"{made.image_id}: seed {made.seed}, made again as {made.file}")
    print(f"with its batch of {made.batch}: {'byte-identical' if made.identical else 'NOT the same bytes'}")
    print(f"alone: {made.share:.2%} of values differ, by at most {made.largest} of 255 grey levels")
    return 0 if made.identical else 1


def _export(arguments: argparse.Namespace) -> int:
    from .diffusion import export

    table = tables.read(arguments.profile, "synthetic", made_by="03_generation")
    real = tables.read(arguments.profile, "images", made_by="01_data_prep")
    note = export.PHANTOMS if (real["source"] == "phantom").all() else ""
    for file in export.write(table, arguments.output, arguments.license, note):
        print(file)
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from .diffusion import cost, simulation

    changed = params.overrides(arguments.changed)
    told = {"plan": cost.estimate(arguments.profile, changed, arguments.gpu, arguments.price)}
    if arguments.simulate:
        told["simulation"] = simulation.run()
    for name, found in told.items():
        print(f"{name} ({arguments.profile})" if name == "plan" else name)
        for what, value in found.items():
            print(f"  {what}: {value:,}" if isinstance(value, int) else f"  {what}: {value}")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 a notebook or check failed, 2 the call was wrong."""
    arguments = _parser().parse_args(words)
    verbs = {"run": _run, "status": _status, "params": _params, "figures": _figures, "base-model": _base_model}
    verbs |= {"image": _image, "export": _export, "plan": _plan}
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
