"""`tuneforge`: every process of the platform is started by one of these commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError

from backend.launch.places import LaunchError
from backend.settings import Settings, get_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options, rest = build_parser().parse_known_args(arguments)
    if rest and options.command not in ("node", "calibrate"):
        build_parser().error(f"unknown arguments: {' '.join(rest)}")
    try:
        settings = get_settings()
    except ValidationError as error:
        for problem in error.errors():
            print(f"tuneforge: {problem['loc'][0]}: {problem['msg']}", file=sys.stderr)
        return 2
    try:
        return int(_COMMANDS[options.command](settings, options, rest))
    except LaunchError as error:
        print(f"tuneforge: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="tuneforge", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    up = commands.add_parser("up", help="start everything on this machine, until Ctrl-C")
    up.add_argument("--background", action="store_true", help="return once it is ready, leaving it running")
    up.add_argument(
        "--demo", action="store_true", help="the same, then fine-tune and evaluate the demonstration"
    )
    # Said by `--background` to the process it starts: who started it announces it.
    up.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    commands.add_parser("down", help="stop what `up` started, from another terminal")
    commands.add_parser("status", help="say what runs, and where")
    demo = commands.add_parser("demo", help="fine-tune and evaluate the demonstration on a running platform")
    demo.add_argument("--address", help="where the platform is (this home's by default)")
    commands.add_parser("web", help="one process: pages, REST interface and the nodes' door")
    commands.add_parser("housekeeper", help="one process: dispatches, reaps, charges, prunes")
    commands.add_parser("librarian", help="one process: imports, checks and downloads datasets and models")
    commands.add_parser("node", help="one process: runs jobs on this machine's GPUs", add_help=False)
    commands.add_parser(
        "calibrate", help="measure this machine's devices, for estimates that fit them", add_help=False
    )
    commands.add_parser("migrate", help="bring the database to this version")
    estimate = commands.add_parser(
        "estimate", help="predict measured runs: step time, peak memory, whether they fit"
    )
    estimate.add_argument(
        "--cases", required=True, help="a file of runs, one JSON object a line, or - for the input"
    )
    reset = commands.add_parser("reset-password", help="give an account a new password")
    reset.add_argument("username", nargs="?", default="admin")
    reset.add_argument("--password-file", help="read it from a file, or - for the input, instead of asking")
    return parser


def _run_up(settings: Settings, options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.launch.state import AlreadyRunning, find_state
    from backend.launch.up import Platform, choose_admin_password

    generated = choose_admin_password(settings)
    if options.background or options.demo:
        from backend.launch.background import ensure_running

        address = ensure_running(settings, _say)
        _announce(settings, address, generated, "make down")
        if options.demo:
            return _run_demo(settings, argparse.Namespace(address=address), [])
        return 0
    try:
        platform = Platform(settings, _say)
        if not options.detached:
            platform.on_ready = lambda: _announce(settings, platform.address, generated, "Ctrl-C")
        return platform.run()
    except AlreadyRunning:  # which is what was asked for
        current = find_state(settings.home)
        where = "starting" if current is None else current.address
        _say(f"Tuneforge is already running: {where} (stop it by: make down)")
        return 0


def _announce(settings: Settings, address: str, generated: str | None, stop: str) -> None:
    _say("")
    _say(f"  Tuneforge: {address}")
    file = settings.secrets_dir / "admin_password"
    if generated is not None:
        _say(f"  Sign in as admin with the password {generated}")
        _say(f"  (shown this once; kept in {file}, for its owner only)")
    elif settings.admin_password:
        _say("  Sign in as admin with the password of TUNEFORGE_ADMIN_PASSWORD")
    else:
        _say(f"  Sign in as admin; the first password was written to {file}")
    _say(f"  Stop: {stop}")
    _say("")


def _run_down(settings: Settings, _options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.launch.background import stop_running

    _say("Stopped." if stop_running(settings, _say) else f"Nothing of {settings.home} is running.")
    return 0


def _run_status(settings: Settings, _options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.launch import probe, state

    current = state.find_state(settings.home)
    if current is None or not state.is_locked(settings.home):
        _say(f"Nothing of {settings.home} is running.")
        return 3
    _say(f"{current.address}  {current.phase}  home {settings.home}")
    for name, mark in current.children.items():
        _say(f"  {name:12} {'pid ' + str(mark.pid) if mark.find() else 'not running'}")
    status, body = probe.fetch_health(current.address, "/readyz")
    _say("  ready" if status == 200 else f"  waiting for: {probe.describe_missing(body)}")
    return 0 if status == 200 else 3


def _run_demo(settings: Settings, options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.launch import state
    from backend.launch.demo import run_demonstration

    current = state.find_state(settings.home)
    address = options.address or settings.server_url or (current.address if current else "")
    if not address:
        raise LaunchError(
            "No platform of this home is running: start one by `tuneforge up`, or give --address."
        )
    return run_demonstration(address, settings, _say)


def _run_web(settings: Settings, _options: argparse.Namespace, _rest: list[str]) -> int:
    from uvicorn.importer import import_from_string

    from backend.web.server import Server

    _need_urls(settings)
    Server(import_from_string("backend.app:app"), settings.host, settings.port).run()
    return 0


def _run_housekeeper(settings: Settings, _options: argparse.Namespace, _rest: list[str]) -> int:
    _need_urls(settings)
    from backend.queue import HOUSEKEEPER_QUEUE

    settings.run_dir.mkdir(parents=True, exist_ok=True)
    arguments = [
        "--app",
        "backend.tasks:celery",
        "worker",
        "--beat",
        "--schedule",
        str(settings.run_dir / "beat"),
        "--pidfile",
        "",
    ]
    arguments += ["--queues", HOUSEKEEPER_QUEUE, "--hostname", "housekeeper@%h", "--concurrency", "2"]
    # Nobody listens to these, and the first two cost a second at every start.
    arguments += ["--without-mingle", "--without-gossip", "--without-heartbeat", "--loglevel", "INFO"]
    _become("celery", *arguments)


def _run_librarian(settings: Settings, _options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.librarian import keeper

    if not settings.database_url:
        raise LaunchError("Set DATABASE_URL, or start everything at once by `tuneforge up`.")
    keeper.main()
    return 0


def _run_node(_settings: Settings, _options: argparse.Namespace, rest: list[str]) -> int:
    # The backend imports nothing of the worker: another program takes this process over.
    _become("worker.main", "node", *rest)


def _run_calibrate(settings: Settings, _options: argparse.Namespace, rest: list[str]) -> int:
    """Beside a platform that `up` started, nothing need be said; elsewhere the node's own settings count, or none."""
    from backend.launch.state import find_state

    state = find_state(settings.home)
    is_elsewhere = "TUNEFORGE_SERVER_URL" in os.environ or "--server" in rest
    if state is not None and not is_elsewhere:
        os.environ |= {
            "TUNEFORGE_SERVER_URL": state.address,
            "TUNEFORGE_NODE_TOKEN": settings.node_token,
            "TUNEFORGE_HOME": str(settings.home),
            "TUNEFORGE_NODE_NAME": settings.node_name,
        }
    _become("worker.main", "calibrate", *rest)


def _run_migrate(settings: Settings, _options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.database import migrate

    if not settings.database_url:
        raise LaunchError("Set DATABASE_URL; `tuneforge up` migrates the database it starts by itself.")
    migrate(settings.database_url)
    return 0


def _run_reset_password(settings: Settings, options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.launch.accounts import reset_password

    reset_password(settings, options.username, options.password_file)
    _say(f"{options.username} has a new password.")
    return 0


def _run_estimate(_settings: Settings, options: argparse.Namespace, _rest: list[str]) -> int:
    from backend.launch.cases import print_predictions

    print_predictions(options.cases)
    return 0


def _become(module: str, *arguments: str) -> NoReturn:
    """Run a module in the place of this process, so that signals and exit code are its own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 (a fixed program)


def _need_urls(settings: Settings) -> None:
    for name, value in (("DATABASE_URL", settings.database_url), ("REDIS_URL", settings.redis_url)):
        if not value:
            raise LaunchError(f"Set {name}, or start everything at once by `tuneforge up`.")


def _say(text: str) -> None:
    print(text, flush=True)


_COMMANDS = {
    "up": _run_up,
    "down": _run_down,
    "status": _run_status,
    "demo": _run_demo,
    "web": _run_web,
    "housekeeper": _run_housekeeper,
    "librarian": _run_librarian,
    "node": _run_node,
    "calibrate": _run_calibrate,
    "migrate": _run_migrate,
    "reset-password": _run_reset_password,
    "estimate": _run_estimate,
}


if __name__ == "__main__":
    sys.exit(main())
