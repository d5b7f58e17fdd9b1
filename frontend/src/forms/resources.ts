/** Choosing where a job runs and what is paid: GPU kind, how many, and the tier. */
import { type Money, call } from "../api";
import { element } from "../dom";
import { formatBytes, formatDuration, formatMoney } from "../format";
import type { Tier } from "../jobs";
import { language, t } from "../language";

interface GpuKind {
  id: string;
  name: string;
  memory_bytes: number;
  price_per_hour: Money;
  total: number;
  free: number;
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
  ) {
    countSelect.addEventListener("change", () => {
      this.count = Number(countSelect.value);
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
    return this.kindId ? { gpu_kind: this.kindId, gpu_count: this.count } : {};
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

  private drawCount(): void {
    const most = Math.max(1, this.kind?.total ?? 1);
    this.count = Math.min(this.count, most);
    const counts = Array.from({ length: most }, (_, index) => index + 1);
    this.countSelect.replaceChildren(...counts.map((count) => element("option", { value: count }, String(count))));
    this.countSelect.value = String(this.count);
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
