/** How a model is trained on several GPUs: one choice for what are two arguments of LLaMA-Factory, deepspeed and fsdp. */
import { element, get } from "../dom";
import { t } from "../language";
import type { ArgumentSection } from "./argument_section";

interface Strategy {
  deepspeed: string | null;
  fsdp: string | null;
  name: string;
  /** What it does and when to choose it. */
  hint: string;
}

function listStrategies(): Strategy[] {
  return [
    {
      deepspeed: null,
      fsdp: null,
      name: t("数据并行 DDP（默认）", "Data parallel, DDP (default)"),
      hint: t(
        "每张卡各放一份完整的模型，速度最快。单卡放得下时选它。",
        "Every GPU holds the whole model: the fastest. Choose it while the model fits one GPU.",
      ),
    },
    {
      deepspeed: "ds_z2_config.json",
      fsdp: null,
      name: "DeepSpeed ZeRO-2",
      hint: t(
        "把优化器状态和梯度分摊到各卡，几乎不变慢。全参训练略微放不下时选它。",
        "Shares optimizer state and gradients out over the GPUs, hardly slower. Choose it when full training just does not fit.",
      ),
    },
    {
      deepspeed: "ds_z2_offload_config.json",
      fsdp: null,
      name: t("DeepSpeed ZeRO-2 + 卸载到内存", "DeepSpeed ZeRO-2 + offload"),
      hint: t(
        "在 ZeRO-2 的基础上把优化器状态放进内存，更省显存，但每步更慢。",
        "As ZeRO-2, with the optimizer state in main memory: less GPU memory, slower steps.",
      ),
    },
    {
      deepspeed: "ds_z3_config.json",
      fsdp: null,
      name: "DeepSpeed ZeRO-3",
      hint: t(
        "连模型权重也分摊到各卡，通信较多。一张卡放不下整个模型时选它。",
        "Shares out the weights too, at the price of more traffic. Choose it when one GPU cannot hold the model.",
      ),
    },
    {
      deepspeed: "ds_z3_offload_config.json",
      fsdp: null,
      name: t("DeepSpeed ZeRO-3 + 卸载到内存", "DeepSpeed ZeRO-3 + offload"),
      hint: t(
        "再把权重和优化器状态放进内存，最省显存，也最慢。其他方式都放不下时选它。",
        "Weights and optimizer state also go to main memory: the least GPU memory and the slowest. The last resort.",
      ),
    },
    {
      deepspeed: null,
      fsdp: "full_shard auto_wrap",
      name: t("FSDP 完全分片", "FSDP, full shard"),
      hint: t(
        "PyTorch 自带的分摊方式，效果与 ZeRO-3 相当，节点无需安装 DeepSpeed。",
        "PyTorch's own way, like ZeRO-3; the machines need no DeepSpeed.",
      ),
    },
    {
      deepspeed: null,
      fsdp: "full_shard auto_wrap offload",
      name: t("FSDP 完全分片 + 卸载到内存", "FSDP, full shard + offload"),
      hint: t(
        "在完全分片的基础上把权重放进内存，最省显存，也最慢。",
        "As full shard, with the weights in main memory: the least GPU memory and the slowest.",
      ),
    },
    {
      deepspeed: null,
      fsdp: "shard_grad_op auto_wrap",
      name: t("FSDP 分片梯度与优化器", "FSDP, gradients and optimizer"),
      hint: t(
        "只分摊梯度和优化器状态，效果与 ZeRO-2 相当，节点无需安装 DeepSpeed。",
        "Shares out gradients and optimizer state only, like ZeRO-2; the machines need no DeepSpeed.",
      ),
    },
    {
      deepspeed: "ds_z0_config.json",
      fsdp: null,
      name: t("DeepSpeed ZeRO-0（不分摊）", "DeepSpeed ZeRO-0 (shares nothing)"),
      hint: t(
        "由 DeepSpeed 运行但不分摊，显存与 DDP 相同。用于检查 DeepSpeed 环境。",
        "Run by DeepSpeed without sharing anything out; memory as with DDP. For checking that DeepSpeed works.",
      ),
    },
  ];
}

export class StrategyField {
  private readonly strategies = listStrategies();
  private readonly select = get<HTMLSelectElement>("[data-strategy]");

  constructor(
    private readonly section: ArgumentSection,
    onChange: () => void,
  ) {
    this.select.replaceChildren(
      ...this.strategies.map((strategy, place) => element("option", { value: place }, strategy.name)),
    );
    this.select.addEventListener("change", () => {
      const chosen = this.strategies[Number(this.select.value)]!;
      this.section.values.set("deepspeed", chosen.deepspeed);
      this.section.values.set("fsdp", chosen.fsdp);
      this.section.draw();
      onChange();
    });
  }

  /** Show what the arguments say, where it matters: a job of one GPU has nothing to share out. */
  draw(hasSeveralGpus: boolean): void {
    get("[data-field='args.strategy']").hidden = !hasSeveralGpus;
    const { values } = this.section;
    const place = this.strategies.findIndex(
      (one) => one.deepspeed === values.get("deepspeed") && one.fsdp === values.get("fsdp"),
    );
    this.select.value = String(place);
    get("[data-strategy-hint]").textContent = this.strategies[place]?.hint ?? "";
  }
}
