"""Rules of optional packages: a job may come to any node of its GPU kind, so each must have what it needs."""

from __future__ import annotations

from collections.abc import Iterator

from backend.domain.argument_rules.conflict import Conflict, Job
from backend.domain.packages import GPU_PACKAGES, build_install_command, list_needed_packages

_INSTEAD = {
    "deepspeed": ("choose FSDP", "请选择 FSDP"),
    "flash-attn": ("choose sdpa", "请选择 sdpa"),
}
_LEAVE_OUT = ("leave it out", "请删除此项")


def check_packages(job: Job) -> Iterator[Conflict]:
    """Which node lacks what the arguments need, and how it gets it."""
    for names, package in list_needed_packages(job.args):
        instead, instead_zh = _INSTEAD.get(package, _LEAVE_OUT)
        if job.device == "cpu" and package in GPU_PACKAGES:
            yield Conflict(
                names,
                f"it needs a GPU, and this job runs on the CPU; {instead} or choose a GPU in resources",
                f"此项需要 GPU，而该任务在 CPU 上运行；{instead_zh}，或在资源配置中选择 GPU",
            )
        elif package in job.lacking:
            node, command = job.lacking[package], build_install_command(package)
            yield Conflict(
                names,
                f"it needs the package {package}, which is not installed on node {node}; {instead}, or ask an "
                f"administrator to install it there ({command}) and to restart the node",
                f"此项需要软件包 {package}，节点 {node} 未安装；{instead_zh}，"
                f"或请管理员在该节点执行 {command} 后重启节点",
            )
