"""Rules of validating while training, and of keeping the best checkpoint by it."""

from __future__ import annotations

from collections.abc import Iterator

from backend.domain.argument_rules.conflict import Conflict, Job


def check_validation(job: Job) -> Iterator[Conflict]:
    """What needs rows to validate on."""
    args = job.args
    validates = args["eval_strategy"] != "no"
    if args["val_size"] == 0:
        wants = {
            "eval_strategy": validates,
            **{name: args[name] for name in ("do_eval", "predict_with_generate")},
        }
        wants |= {"eval_on_start": args["eval_on_start"]}
        for name in (name for name, wanted in wants.items() if wanted):
            yield Conflict(
                (name, "val_size"),
                "there is nothing to validate on; set val_size, such as 0.1, or leave it out",
                "没有验证数据；请设置 val_size（例如 0.1），或删除此项",
            )
    if args["predict_with_generate"] and args["compute_accuracy"]:
        yield Conflict(
            ("compute_accuracy", "predict_with_generate"),
            "it cannot be together with predict_with_generate; switch one of them off",
            "不能与 predict_with_generate 同时开启；请关闭其中之一",
        )
    for schedule in ("reduce_lr_on_plateau", "greedy"):
        if args["lr_scheduler_type"] == schedule and not validates:
            yield Conflict(
                ("lr_scheduler_type", "eval_strategy", "val_size"),
                f"{schedule} follows the validation loss; set val_size, such as 0.1, or choose another schedule",
                f"{schedule} 依据验证损失调整；请设置 val_size（例如 0.1），或选择其他策略",
            )
    if args["early_stopping_steps"] is not None and not args["load_best_model_at_end"]:
        yield Conflict(
            ("early_stopping_steps", "load_best_model_at_end"),
            "it needs load_best_model_at_end: true, and val_size to validate on",
            "需要设置 load_best_model_at_end: true，并用 val_size 划出验证集",
        )


def check_best_model(job: Job) -> Iterator[Conflict]:
    """Keeping the best checkpoint needs validations that fall on checkpoints, by a metric that is measured."""
    args = job.args
    keeps_best = args["load_best_model_at_end"] or args["save_strategy"] == "best"
    if keeps_best and args["eval_strategy"] == "no":
        names = ("load_best_model_at_end",) if args["load_best_model_at_end"] else ("save_strategy",)
        yield Conflict(
            (*names, "eval_strategy", "val_size"),
            "which is best is known by validating only; set val_size, such as 0.1",
            "需要验证才能判断最佳模型；请设置 val_size（例如 0.1）",
        )
    elif args["load_best_model_at_end"] and args["save_strategy"] != "best":
        yield from _check_best_checkpoints(job)
    if (
        args["save_strategy"] == "best"
        and not args["load_best_model_at_end"]
        and not args["metric_for_best_model"]
    ):
        yield Conflict(
            ("save_strategy", "metric_for_best_model"),
            "to save the best, say by what: set metric_for_best_model, such as loss",
            "保存最佳模型时请设置 metric_for_best_model，例如 loss",
        )
    metric = args["metric_for_best_model"]
    measured = ["loss"] + ["accuracy"] * args["compute_accuracy"]
    measured += ["rouge-1", "rouge-2", "rouge-l", "bleu-4"] * args["predict_with_generate"]
    if metric is not None and metric.removeprefix("eval_") not in measured:
        # transformers finds out at the first validation, when hours may have passed.
        yield Conflict(
            ("metric_for_best_model",),
            f"this job measures {', '.join(measured)}; choose one, or switch on compute_accuracy for accuracy",
            f"该任务的验证指标有 {'、'.join(measured)}；请选择其一，或开启 compute_accuracy 以使用 accuracy",
        )


def _check_best_checkpoints(job: Job) -> Iterator[Conflict]:
    """Yield how checkpoints and validations fail to fall on the same steps, as keeping the best one needs."""
    save, validate = job.args["save_strategy"], job.args["eval_strategy"]
    if save != validate:
        yield Conflict(
            ("save_strategy", "eval_strategy", "load_best_model_at_end"),
            f"to keep the best, save and validate alike: save_strategy is {save}, eval_strategy {validate}",
            f"要保留最佳模型，save_strategy（{save}）与 eval_strategy（{validate}）应一致",
        )
        return
    if save != "steps":
        return
    save_steps = job.args["save_steps"]
    eval_steps = job.args["eval_steps"] or job.args["logging_steps"]
    if (save_steps < 1) != (eval_steps < 1) or round(save_steps * 1_000_000) % round(eval_steps * 1_000_000):
        yield Conflict(
            ("save_steps", "eval_steps", "load_best_model_at_end"),
            f"to keep the best, save_steps ({save_steps}) must be a multiple of eval_steps ({eval_steps})",
            f"要保留最佳模型，save_steps（{save_steps}）应为 eval_steps（{eval_steps}）的整数倍",
        )
