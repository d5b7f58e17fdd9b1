/** Choosing where a job runs and what is paid: GPU kind, how many, and the tier. */
import { type Money, call } from "../api";
import { element, get } from "../dom";
import { formatBytes, formatDuration, formatMoney } from "../format";
import type { Tier } from "../jobs";
import { language, t } from "../language";
import { type Gang, splitGang } from "./gang";

interface GpuKind {
  id: string;
  name: string;
  memory_bytes: number;
  price_per_hour: Money;
  total: number;
  free: number;
  /** How many of it each machine has, the largest first. */
  node_sizes: number[];
  /** The optional Python packages that every machine of the kind has. */
  packages: string[];
  /** How long a job of one device would wait now. */
  queue_seconds_by_tier: Record<Tier, number>;
}

interface TierOffer {
  id: Tier;
  name: string;
  names?: { zh: string; en: string };
  discount: number;
  preemptible: boolean;
  queue_seconds: number;
}

interface Resources {
  gpu_kinds: GpuKind[];
  tiers: TierOffer[];
  nodes_online: number;
}

export interface ChosenResources {
  gpu_kind: string;
  gpu_count: number;
  max_nodes?: number;
}

export class ResourcePicker {
  private resources: Resources = { gpu_kinds: [], tiers: [], nodes_online: 0 };
  private kindId = "";
  private count = 1;
  tier: Tier = "express";

  constructor(
    private readonly kindsPlace: HTMLElement,
    private readonly countSelect: HTMLSelectElement,
    private readonly tiersPlace: HTMLElement,
    private readonly onChange: () => void,
    /** Whether a job may lie on several machines. */
    private readonly maySpread = false,
  ) {
    countSelect.addEventListener("change", () => {
      this.count = Number(countSelect.value);
      this.drawCount();
      this.onChange();
    });
  }

  async load(): Promise<void> {
    this.resources = await call<Resources>("GET", "/resources");
    const kinds = this.resources.gpu_kinds;
    // GPUs come before processors, and free devices before busy ones.
    const best = [...kinds].sort((a, b) => Number(a.id === "cpu") - Number(b.id === "cpu") || b.free - a.free)[0];
    if (!kinds.some((kind) => kind.id === this.kindId)) this.kindId = best?.id ?? "";
    this.draw();
  }

  /** What a body says; a job without any known device leaves the choice to the server. */
  get chosen(): ChosenResources | Record<string, never> {
    if (!this.kindId) return {};
    const nodes = this.split(this.count)?.nodes ?? 1;
    return { gpu_kind: this.kindId, gpu_count: this.count, ...(nodes > 1 ? { max_nodes: nodes } : {}) };
  }

  get kind(): GpuKind | null {
    return this.resources.gpu_kinds.find((kind) => kind.id === this.kindId) ?? null;
  }

  get isCpu(): boolean {
    return this.kindId === "cpu";
  }

  get gpuCount(): number {
    return this.count;
  }

  /** Take over another job's choice, as far as it can still be had. */
  choose(kind: string | null | undefined, count: number | undefined, tier: Tier): void {
    const found = this.resources.gpu_kinds.find((one) => one.id === kind);
    if (found) this.kindId = found.id;
    this.count = Math.min(count ?? 1, this.kind?.total ?? 1);
    this.tier = tier;
    this.draw();
  }

  private draw(): void {
    const kinds = this.resources.gpu_kinds;
    this.kindsPlace.replaceChildren(...kinds.map((kind) => this.buildKind(kind)));
    if (!kinds.length) {
      this.kindsPlace.append(
        element(
          "p",
          { class: "banner warning" },
          t("还没有在线的 GPU 节点，请联系管理员。", "No machine is online; ask an administrator."),
        ),
      );
    }
    this.drawCount();
    this.tiersPlace.replaceChildren(...this.resources.tiers.map((tier) => this.buildTier(tier)));
  }

  /** How so many devices of the chosen kind would lie; null where they cannot be had together. */
  private split(count: number): Gang | null {
    const gang = splitGang(count, this.kind?.node_sizes ?? []);
    return gang && (gang.nodes === 1 || this.maySpread) ? gang : null;
  }

  private drawCount(): void {
    const counts = Array.from({ length: this.kind?.total ?? 1 }, (_, index) => index + 1);
    const offered = counts.filter((count) => count === 1 || this.split(count));
    this.count = offered.filter((count) => count <= this.count).pop() ?? 1;
    this.countSelect.replaceChildren(
      ...offered.map((count) => element("option", { value: count }, this.describeCount(count))),
    );
    this.countSelect.value = String(this.count);
    const nodes = this.split(this.count)?.nodes ?? 1;
    const hint = get("[data-count-hint]");
    hint.hidden = nodes === 1;
    hint.textContent = t(
      "单个节点没有这么多，任务会平均分布到多个节点，同时开始、同时结束；任一节点出现故障，整个任务从最近的检查点继续。",
      "No single machine has so many: the job lies in equal shares on several, which start and end together. Should one fail, all of it goes on from the last checkpoint.",
    );
  }

  private describeCount(count: number): string {
    const gang = this.split(count);
    if (!gang || gang.nodes === 1) return String(count);
    return t(
      `${count}（${gang.nodes} 个节点 × ${gang.perNode}）`,
      `${count} (${gang.nodes} machines × ${gang.perNode})`,
    );
  }

  private buildKind(kind: GpuKind): HTMLElement {
    const radio = element("input", { type: "radio", name: "gpu-kind", value: kind.id });
    radio.checked = kind.id === this.kindId;
    radio.addEventListener("change", () => {
      this.kindId = kind.id;
      this.draw();
      this.kindsPlace.querySelector<HTMLInputElement>("input:checked")?.focus();
      this.onChange();
    });
    const free =
      kind.free > 0
        ? element(
            "span",
            { class: "badge good" },
            t(`空闲 ${kind.free} / ${kind.total}`, `${kind.free} of ${kind.total} free`),
          )
        : element("span", { class: "badge warning" }, t(`全部占用，共 ${kind.total}`, `all ${kind.total} in use`));
    return element(
      "label",
      { class: "choice-card" },
      radio,
      element("strong", {}, kind.name),
      element(
        "span",
        { class: "soft" },
        t(`内存 ${formatBytes(kind.memory_bytes)}`, `${formatBytes(kind.memory_bytes)} memory`),
      ),
      element(
        "span",
        { class: "choice-price number" },
        formatMoney(kind.price_per_hour),
        element("span", { class: "faint" }, t(" / 卡 / 小时", " / device / hour")),
      ),
      free,
    );
  }

  private buildTier(tier: TierOffer): HTMLElement {
    const radio = element("input", { type: "radio", name: "tier", value: tier.id });
    radio.checked = tier.id === this.tier;
    radio.addEventListener("change", () => {
      this.tier = tier.id;
      this.onChange();
    });
    const { kind } = this;
    const wait = kind?.queue_seconds_by_tier[tier.id] ?? tier.queue_seconds;
    const price = kind
      ? { currency: kind.price_per_hour.currency, amount: String(Number(kind.price_per_hour.amount) * tier.discount) }
      : null;
    return element(
      "label",
      { class: "choice-card" },
      radio,
      element(
        "span",
        { class: "choice-title" },
        element("strong", {}, tier.names?.[language] ?? tier.name),
        element("span", { class: "badge info" }, describeDiscount(tier.discount)),
      ),
      element("span", { class: "soft" }, describeTier(tier)),
      element(
        "span",
        { class: "choice-price number" },
        formatMoney(price),
        element("span", { class: "faint" }, t(" / 卡 / 小时", " / device / hour")),
      ),
      element(
        "span",
        { class: "faint" },
        wait > 0
          ? t(`预计排队 ${formatDuration(wait)}`, `queue about ${formatDuration(wait)}`)
          : t("无需排队", "no queue"),
      ),
    );
  }
}

function describeDiscount(share: number): string {
  if (share >= 1) return t("原价", "list price");
  return t(`${Number((share * 10).toFixed(2))} 折`, `${Math.round((1 - share) * 100)}% off`);
}

function describeTier(tier: TierOffer): string {
  if (tier.preemptible)
    return t(
      "折扣最大；资源不足时会暂停，空闲后从检查点继续。",
      "Cheapest; pauses when devices are short and goes on from its checkpoint.",
    );
  if (tier.id === "express") return t("优先使用资源，尽快开始。", "First in line, starts soonest.");
  return t("资源紧张时排队，价格更低。", "Waits when devices are short, for a lower price.");
}
