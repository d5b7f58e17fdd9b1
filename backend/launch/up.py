"""`tuneforge up`: start every process of the platform in order, keep them running, and stop them in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from backend.launch import children, probe, state
from backend.launch.children import Child, read_mark
from backend.launch.leftovers import clear_leftovers
from backend.launch.places import (
    LaunchError,
    choose_port,
    choose_postgres_folder,
    get_postgres_account,
    is_port_free,
    make_home,
)
from backend.launch.postgres import Postgres
from backend.launch.redis import Redis
from backend.settings import Settings, read_or_make_secret

NODE_PATIENCE_SECONDS = 120.0
"""How long running jobs may take to save a checkpoint when the platform stops."""

_CHOSEN_NOTE = "admin-password-was-chosen"
_PATIENCE_SECONDS = 15.0
_START_DEATHS = 3
_OF_BACKEND_ONLY = ("DATABASE_URL", "REDIS_URL", "TUNEFORGE_ADMIN_PASSWORD", "TUNEFORGE_SECRET_KEY")

Say = Callable[[str], None]


class Platform:
    """All processes of one home on this machine."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self.home = settings.home
        self.address = probe.build_address(settings.host, settings.port)
        self.say = say
        self.postgres: Postgres | None = None
        self.redis: Redis | None = None
        self.children: list[Child] = []
        self.due: dict[str, float] = {}
        self.stop_requests = 0
        self.on_ready: Callable[[], None] = _do_nothing
        self.began = time.monotonic()

    def run(self) -> int:
        """Start, stay until told to stop, stop; return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note_stop)
        make_home(self.home)
        self.lock = state.take_lock(self.home)
        try:
            self._start()
            while not self.stop_requests:
                self._watch()
                time.sleep(0.2)
            return 0
        finally:
            self._stop()

    def _note_stop(self, _number: int, _frame: object) -> None:
        self.stop_requests += 1

    def _start(self) -> None:
        clear_leftovers(self.home)
        if not is_port_free(self.settings.host, self.settings.port):
            raise LaunchError(
                f"Another program listens on {self.settings.host}:{self.settings.port}. "
                "Stop it, or choose another port by TUNEFORGE_PORT."
            )
        self._write_state("starting")
        environment = self._start_services()
        if self.stop_requests:
            return
        self._migrate(environment)
        self._start_children(environment)
        self._wait_until_ready()

    def _start_services(self) -> dict[str, str]:
        """Start the database and Redis that were not given by a URL; return the children's environment."""
        settings, home = self.settings, self.home
        environment = dict(os.environ) | {
            children.MARK: str(home),
            "TUNEFORGE_HOME": str(home),
            "TUNEFORGE_HOST": settings.host,
            "TUNEFORGE_PORT": str(settings.port),
            "PYTHONUNBUFFERED": "1",
        }
        if settings.database_url is None:
            account = get_postgres_account()
            self.postgres = Postgres(
                folder=choose_postgres_folder(home, account),
                password=read_or_make_secret("postgres_password", home),
                port=choose_port(home / "run" / "postgres.port"),
                log=settings.log_dir / "postgres.log",
                account=account,
            )
            self.postgres.start()
            environment["DATABASE_URL"] = self.postgres.url
            self._tell(f"PostgreSQL runs, its data in {self.postgres.folder}")
        if settings.redis_url is None:
            self.redis = Redis(
                folder=home / "redis",
                password=read_or_make_secret("redis_password", home),
                port=choose_port(home / "run" / "redis.port"),
                log=settings.log_dir / "redis.log",
            )
            self.redis.start()
            environment["REDIS_URL"] = self.redis.url
            self._tell("Redis runs")
        self._write_state("starting")
        return environment

    def _migrate(self, environment: dict[str, str]) -> None:
        log = self.settings.log_dir / "migrate.log"
        with log.open("wb") as file:
            answer = subprocess.run(
                _build_command("migrate"),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
                start_new_session=True,
                cwd=self.home,
            )
        if answer.returncode != 0:
            raise LaunchError(
                f"The database could not be migrated; the end of {log}:\n{children.read_end(log)}"
            )
        self._tell("The database is up to date")

    def _start_children(self, environment: dict[str, str]) -> None:
        settings = self.settings
        node_environment = {k: v for k, v in environment.items() if k not in _OF_BACKEND_ONLY} | {
            "TUNEFORGE_SERVER_URL": settings.server_url or self.address,
            "TUNEFORGE_NODE_TOKEN": settings.node_token,
            "TUNEFORGE_NODE_NAME": settings.node_name,
        }
        password = settings.admin_password or read_or_make_secret("admin_password", self.home)
        web_environment = environment | {"TUNEFORGE_ADMIN_PASSWORD": password}
        for name, own in (
            ("web", web_environment),
            ("housekeeper", environment),
            ("librarian", environment),
            ("node", node_environment),
        ):
            log = settings.log_dir / f"{name}.log"
            child = Child(name, _build_command(name), own, log, self.home)
            self.children.append(child)
            child.start()
        self._write_state("starting")

    def _wait_until_ready(self) -> None:
        """Watch until `/readyz` says yes, telling once for each thing that is waited for."""
        told = ""
        is_alive = False
        while not self.stop_requests:
            self._watch()
            if not is_alive:
                is_alive = probe.fetch_health(self.address, "/healthz")[0] == 200
                if is_alive:
                    self._tell(f"The web process answers at {self.address}")
            else:
                status, body = probe.fetch_health(self.address, "/readyz")
                if status == 200:
                    break
                waiting = probe.describe_missing(body)
                if status and waiting != told:
                    told = waiting
                    self._tell(f"Waiting for: {waiting}")
            self._give_up_on_the_hopeless()
            time.sleep(0.1)
        if not self.stop_requests:
            self._write_state("ready")
            self._tell("Ready")
            self.on_ready()

    def _give_up_on_the_hopeless(self) -> None:
        for child in self.children:
            if child.deaths >= _START_DEATHS:
                excerpt = children.read_end(child.log)
                raise LaunchError(f"{child.name} does not start; the end of {child.log}:\n{excerpt}")

    def _watch(self) -> None:
        """Start again what has died, each after a pause of its own."""
        now = time.monotonic()
        for service in (self.postgres, self.redis):
            if service is not None and service.process is not None and service.process.poll() is not None:
                self._tell(
                    f"{type(service).__name__} has ended ({service.process.poll()}); starting it again"
                )
                service.start()
                self._write_state()
        for child in self.children:
            code = child.poll()
            if code is None:
                continue
            if child.name not in self.due:
                child.end_group()
                pause = child.plan_restart()
                self.due[child.name] = now + pause
                self._tell(f"{child.name} has ended ({code}); again in {pause:.0f} s, see {child.log}")
            elif now >= self.due[child.name]:
                del self.due[child.name]
                child.start()
                self._write_state()

    def _stop(self) -> None:
        """Stop node, librarian, housekeeper, web, Redis and PostgreSQL in this order; leave no process."""
        began, hurry_from = time.monotonic(), self.stop_requests + 1
        self._write_state("stopping")

        def is_hurried() -> bool:
            return self.stop_requests >= hurry_from

        named = {child.name: child for child in self.children}
        if "node" in named and named["node"].poll() is None:
            self._tell("Stopping: running jobs save a checkpoint first (Ctrl-C again: at once)")
        for name in ("node", "librarian", "housekeeper", "web"):
            if name in named:
                patience = NODE_PATIENCE_SECONDS if name == "node" else _PATIENCE_SECONDS
                if not named[name].stop(patience, is_hurried):
                    self._tell(f"{name} did not end by itself and was killed")
                if name == "node":
                    children.kill_processes(children.list_marked(self.home, spared=self._list_own_pids()))
        for service in (self.redis, self.postgres):
            if service is not None:
                service.stop()
        children.kill_processes(children.list_marked(self.home))
        state.remove_state(self.home)
        self._tell(f"Stopped in {time.monotonic() - began:.1f} s")
        os.close(self.lock)

    def _list_own_pids(self) -> list[int]:
        """Return the pids of what has to outlive the node: the other children and all they started."""
        pids: list[int] = []
        for child in self.children:
            if child.process is not None and child.poll() is None:
                pids += children.list_family(child.process.pid)
        return pids

    def _write_state(self, phase: str | None = None) -> None:
        if phase is not None:
            self.phase = phase
        marks = {}
        named = {"postgres": self.postgres, "redis": self.redis} | {
            child.name: child for child in self.children
        }
        for name, part in named.items():
            if part is not None and part.process is not None and part.process.poll() is None:
                marks[name] = read_mark(part.process.pid)
        state.write_state(self.home, state.State(read_mark(os.getpid()), self.address, self.phase, marks))

    def _tell(self, text: str) -> None:
        self.say(f"{time.monotonic() - self.began:6.1f} s  {text}")


def _do_nothing() -> None:
    """Stand in for a listener."""


def _build_command(name: str) -> list[str]:
    # -P: the working folder is the home, where nothing may pose as a module of ours.
    return [sys.executable, "-P", "-m", "backend.cli", name]


def choose_admin_password(settings: Settings) -> str | None:
    """Return the administrator's password if it is generated now and has to be shown, else None.

    Once an administrator has chosen one by the environment, a generated one would not be the right one.
    """
    make_home(settings.home)
    if settings.admin_password:
        note_chosen_password(settings.home)
    chosen = settings.run_dir / _CHOSEN_NOTE
    file: Path = settings.secrets_dir / "admin_password"
    if chosen.exists() or file.exists():
        return None
    return read_or_make_secret("admin_password", settings.home)


def note_chosen_password(home: Path) -> None:
    """Note that the administrator's password is not a generated one."""
    (home / "run" / _CHOSEN_NOTE).touch()
