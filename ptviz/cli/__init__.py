"""The command line: ``ptviz app | methods | tasks | backbones | get | train | runs | show | ...``.

Every command that returns data takes ``--json`` and then writes exactly one JSON document to stdout; progress goes to
stderr. Exit codes: 0 done, 1 a run or a check failed, 2 bad input (one line on stderr says what to do), 130
interrupted. Torch is imported by the commands that need it, not here, so that ``--help`` is fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ptviz import __version__
from ptviz.cli import (
    app,
    attach,
    bench,
    catalogue,
    compare,
    count,
    doctor,
    export,
    figures,
    findings,
    gallery,
    generate,
    inspect,
    peft_benchmark,
    predict,
    prediction_errors,
    report,
    runs,
    sweep,
    train,
    transfer,
)
from ptviz.cli.output import RunFailed, UsageError, print_error, print_line
from ptviz.paths import NUL
from ptviz.safe_text import escape_log_records

shell = typer.Typer(
    name="ptviz",
    epilog="Start with `ptviz app`, or `ptviz train prompt-tuning --task trec6`. Each command has its own --help.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "app": app.serve,
    "train": train.train,
    "compare": compare.compare,
    "sweep": sweep.sweep,
    "attach": attach.attach,
    "benchmark": peft_benchmark.benchmark,
    "transfer": transfer.transfer,
    "runs": runs.runs,
    "show": runs.show_run,
    "note": runs.note,
    "errors": prediction_errors.errors,
    "report": report.report,
    "export": export.export,
    "import": export.import_,
    "inspect": inspect.inspect,
    "predict": predict.predict,
    "generate": generate.generate,
    "findings": findings.findings,
    "methods": catalogue.methods,
    "tasks": catalogue.tasks,
    "backbones": catalogue.backbones,
    "get": catalogue.get,
    "count": count.count,
    "figures": figures.figures,
    "gallery": gallery.gallery,
    "bench": bench.bench,
    "doctor": doctor.doctor,
}
"""The functions of the commands by name, in the order of the help."""
for name, function in COMMANDS.items():
    shell.command(name)(function)


def _print_version(requested: bool) -> None:
    if requested:
        print_line(f"ptviz {__version__}")
        raise typer.Exit


@shell.callback()
def root_command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train, compare and inspect soft prompts on frozen backbones, in the browser (`ptviz app`) or in the shell."""
    if context.invoked_subcommand is None:
        print_line(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # Threads that wait for each other must not spin: beside one busy process a step would take many times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    escape_log_records()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code; every error is one line on stderr, without a traceback."""
    try:
        for argument in arguments or ():  # The shell cannot give one; a call of this function can.
            if NUL in argument:
                raise UsageError(f"expected arguments without a NUL character (\\x00); got {argument!r}")
        code = shell(arguments, prog_name="ptviz", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" See: {context.command_path} --help" if context is not None else ""
        return print_error(error.format_message().rstrip(".") + "." + hint, error.exit_code)
    except UsageError as error:
        return print_error(str(error), 2)
    except RunFailed as error:
        return print_error(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        return print_error("interrupted", 130)
    except BrokenPipeError:  # `ptviz runs | head`
        sys.stderr.close()
        return 1
    except Exception as error:
        if os.environ.get("PTVIZ_DEBUG"):
            raise
        hint = "internal error, please report it; PTVIZ_DEBUG=1 shows the traceback"
        return print_error(f"{type(error).__name__}: {error} ({hint})", 1)
    return code if isinstance(code, int) else 0
