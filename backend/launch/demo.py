"""`tuneforge demo`: a client of the REST interface that tunes, evaluates twice and prints what it gained."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from backend.domain.demonstration import build_evaluate_job, build_train_job
from backend.launch.live_line import LiveLine
from backend.launch.places import LaunchError
from backend.settings import Settings, read_or_make_secret

ENDED = ("succeeded", "failed", "cancelled")
METRICS = (
    ("BLEU-4", "predict_bleu-4"),
    ("ROUGE-1", "predict_rouge-1"),
    ("ROUGE-2", "predict_rouge-2"),
    ("ROUGE-L", "predict_rouge-l"),
)

_OUTAGE_SECONDS = 120.0
_PAGE = 100

Say = Callable[[str], None]
Json = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluate job found: LLaMA-Factory's own metrics, and how many answers were exactly right."""

    metrics: Json
    exact: int
    total: int


def run_demonstration(address: str, settings: Settings, say: Say) -> int:
    """Run the demonstration on the platform at `address`; return 0 only if every job succeeded."""
    # The platform is on this machine or in this network: no proxy of the environment stands between.
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        token = _sign_in(client, settings)
        client.headers["Authorization"] = f"Bearer {token['token']}"
        try:
            return _Demonstration(client, address, say).run()
        except KeyboardInterrupt:
            say(f"\nNo longer followed here; the jobs go on at {address}")
            return 130
        finally:
            client.delete(f"/api/v1/tokens/{token['id']}")


class _Demonstration:
    """One run of the demonstration by one signed-in client."""

    def __init__(self, client: httpx.Client, address: str, say: Say) -> None:
        self.client = client
        self.address = address
        self.say = say
        self.line = LiveLine(say)

    def run(self) -> int:
        train = self._submit("tuning", build_train_job())
        untouched = self._submit("untouched model's evaluation", build_evaluate_job(None))
        jobs = self._follow({"tuning": train["id"]})
        if not self._tell_failures(jobs):
            return 1
        tuned = self._submit("tuned model's evaluation", build_evaluate_job(train["id"]))
        jobs |= self._follow({"untouched": untouched["id"], "tuned": tuned["id"]})
        if not self._tell_failures(jobs):
            return 1
        before, after = self._read(untouched["id"]), self._read(tuned["id"])
        self.say("")
        for line in build_table(before, after):
            self.say(line)
        self.say("")
        for name, job in jobs.items():
            self.say(describe_cost(name, job))
        self.say("")
        self.say(f"Compare, answer by answer: {self.address}/compare?jobs={untouched['id']},{tuned['id']}")
        self.say(f"The tuning job:            {self.address}/jobs/{train['id']}")
        return 0

    def _submit(self, title: str, body: Json) -> Json:
        job = self._call("POST", "/jobs", json=body)
        seconds = ((job.get("estimate") or {}).get("duration_seconds") or {}).get("expected")
        guess = "" if seconds is None else f", estimated {seconds:.0f} s"
        self.say(f"Submitted the {title}: {self.address}/jobs/{job['id']}{guess}")
        return job

    def _follow(self, ids: dict[str, str]) -> dict[str, Json]:
        """Show progress until all these jobs have ended, through restarts of the platform too."""
        silent_since: float | None = None
        while True:
            try:
                jobs = {name: self._call("GET", f"/jobs/{job_id}") for name, job_id in ids.items()}
                silent_since = None
            except httpx.TransportError as error:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > _OUTAGE_SECONDS:
                    raise LaunchError(f"{self.address} no longer answers: {error}") from None
                time.sleep(2)
                continue
            self.line.show({name: describe_progress(job) for name, job in jobs.items()})
            if all(job["status"] in ENDED for job in jobs.values()):
                self.line.close()
                return jobs
            time.sleep(1)

    def _tell_failures(self, jobs: dict[str, Json]) -> bool:
        """Tell of each job that did not succeed; return whether all did."""
        failed = {name: job for name, job in jobs.items() if job["status"] != "succeeded"}
        for name, job in failed.items():
            error = job.get("error") or {}
            self.say(f"{name}: {job['status']} ({job['end_reason']}), {self.address}/jobs/{job['id']}")
            for key in ("title", "detail", "hint", "log_excerpt"):
                if error.get(key):
                    self.say(f"  {error[key]}".replace("\n", "\n  "))
        return not failed

    def _read(self, job_id: str) -> Evaluation:
        exact = total = 0
        while True:
            page = self._call("GET", f"/jobs/{job_id}/predictions?offset={total}&limit={_PAGE}")["data"]
            exact += sum(row["predict"].strip() == row["label"].strip() for row in page)
            total += len(page)
            if len(page) < _PAGE:
                break
        return Evaluation(self._call("GET", f"/jobs/{job_id}/results"), exact, total)

    def _call(self, method: str, path: str, json: Json | None = None) -> Json:
        return _check(self.client.request(method, f"/api/v1{path}", json=json))


def build_table(before: Evaluation, after: Evaluation) -> list[str]:
    """Return the lines that lay the untouched and the tuned model side by side."""
    lines = [f"{'held-out pictures':<18}{'untouched':>12}{'tuned':>12}", "-" * 42]
    for title, key in METRICS:
        values = [found.metrics.get(key) for found in (before, after)]
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        lines.append(f"{title:<18}{cells[0]:>12}{cells[1]:>12}")
    shares = [f"{100 * found.exact / max(found.total, 1):.1f} %" for found in (before, after)]
    counts = [f"{found.exact} of {found.total}" for found in (before, after)]
    lines.append(f"{'exactly right':<18}{shares[0]:>12}{shares[1]:>12}")
    lines.append(f"{'':<18}{counts[0]:>12}{counts[1]:>12}")
    return lines


def describe_progress(job: Json) -> str:
    """Return a job's state in a few words."""
    progress = job["progress"]
    if job["status"] != "running":
        waiting = job["status"] == "queued" and job.get("queue_position")
        return f"queued, {job['queue_position']} in line" if waiting else str(job["status"])
    words = str(progress.get("phase") or "running")
    if progress.get("total_steps"):
        words += f" {progress['step']}/{progress['total_steps']}"
    if progress.get("eta_seconds") is not None:
        words += f", {progress['eta_seconds']:.0f} s left"
    return words


def describe_cost(name: str, job: Json) -> str:
    """Return one line that lays a job's estimate beside what it came to."""
    estimate = job.get("estimate") or {}
    guess = estimate.get("duration_seconds") or {}
    guessed = (
        f"estimated {guess['expected']:.0f} s ({guess['low']:.0f} to {guess['high']:.0f})" if guess else ""
    )
    taken = _parse_time(job["finished_at"]) - _parse_time(job["started_at"])
    price = estimate.get("cost") or {}
    money = f"; cost estimated {price['expected']}, charged" if price else "; charged"
    cost = job["cost"]
    return (
        f"{name:<10} {guessed}, took {taken.total_seconds():.0f} s{money} {cost['amount']} {cost['currency']}"
    )


def _sign_in(client: httpx.Client, settings: Settings) -> Json:
    """Return an API token of the administrator for this run."""
    password = settings.admin_password or read_or_make_secret("admin_password", settings.home)
    # A name of its own: an earlier run that was killed has left its token.
    name = f"demonstration {secrets.token_hex(4)}"
    expires_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"username": "admin", "password": password, "name": name, "expires_at": expires_at}
    try:
        answer = client.post("/api/v1/tokens", json=body)
    except httpx.TransportError as error:
        raise LaunchError(f"{client.base_url} does not answer: {error}") from None
    if answer.status_code in (401, 403):
        raise LaunchError(
            "The administrator's password is not the one first generated any more: "
            "give it as TUNEFORGE_ADMIN_PASSWORD, or set another by `tuneforge reset-password`."
        )
    return _check(answer)


def _check(answer: httpx.Response) -> Json:
    """Return the answer's JSON, or say what the server objected to."""
    if answer.is_success:
        value: Json = answer.json()
        return value
    try:
        problem = answer.json()
        told = [str(problem.get("detail") or problem.get("title"))]
        told += [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problem.get("errors") or []]
    except ValueError:
        told = [answer.text[:500]]
    raise LaunchError(
        f"{answer.request.method} {answer.request.url.path}: {answer.status_code} " + "; ".join(told)
    )


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
