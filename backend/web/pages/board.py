"""SwanLab's own dashboard of a job, for those who may see the job."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from backend.board import BoardKeeper, serve_board
from backend.services import results
from backend.web.deps import SignedInId

router = APIRouter()


@router.get("/jobs/{job_id}/board")
def enter_board(job_id: str, request: Request, user_id: SignedInId) -> Response:
    """Lead to the board; its own addresses need the slash."""
    return RedirectResponse(request.url.path + "/", status_code=307)


@router.api_route("/jobs/{job_id}/board/{path:path}", methods=["GET", "HEAD"])
async def show_board(job_id: str, path: str, request: Request, user_id: SignedInId) -> Response:
    """Pass a listed request on to the job's board, starting it when there is none."""
    board = await run_in_threadpool(results.get_board, user_id, job_id)
    keeper: BoardKeeper = request.app.state.board_keeper
    answer = await serve_board(
        keeper, job_id, board.swanlogs, request.method, path, request.url.query, ended=board.is_ended
    )
    return Response(answer.body, answer.status, answer.headers)
