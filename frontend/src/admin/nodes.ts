// Nodes with their devices; a draining one finishes what it runs and takes nothing new.
import { call, callAll } from "../api";
import { element, get, icon, replaceChildrenIfChanged } from "../dom";
import { formatAgo, formatBytes, formatTime } from "../format";
import { t } from "../language";
import { ask, notifyError, runWithButton } from "../notices";
import { type Poll, poll } from "../poll";
import { startNodeTokens } from "./node_tokens";

interface Device {
  uuid: string;
  kind_name: string;
  name: string;
  index: number;
  memory_bytes: number;
  memory_used_bytes: number | null;
  utilization: number | null;
  temperature_celsius: number | null;
  busy: boolean;
}

interface Node {
  id: string;
  name: string;
  status: "online" | "draining" | "lost";
  devices: Device[];
  versions: Record<string, string>;
  free_bytes: number | null;
  seen_at: string;
}

let watch: Poll;

export function startNodes(isShown: () => boolean): Poll {
  startNodeTokens();
  watch = poll(3, async () => {
    if (!isShown()) return;
    const data = await callAll<Node>("/admin/nodes");
    data.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    // When a node was heard of changes all the time; it is shown only when that was long ago.
    const key = JSON.stringify(data.map((node) => ({ ...node, seen_at: node.status === "lost" ? formatAgo(node.seen_at) : "" })));
    replaceChildrenIfChanged(get("#nodes"), key, () => (data.length ? data.map(buildNode) : [buildInvitation()]));
  });
  return watch;
}

function buildInvitation(): HTMLElement {
  return element(
    "div",
    { class: "card empty" },
    icon("server"),
    element(
      "p",
      {},
      t(
        "还没有节点。请在下方签发令牌，并在 GPU 机器上运行所示命令，节点会自动出现在这里。",
        "No node yet. Issue a token below and run the command shown on a GPU machine; it appears here by itself.",
      ),
    ),
  );
}

function buildNode(node: Node): HTMLElement {
  const versions = Object.entries(node.versions).map(([name, version]) => `${name} ${version}`);
  return element(
    "article",
    { class: "card node", "data-node": node.name },
    element("div", { class: "card-head" }, element("h2", {}, node.name, " ", buildStatus(node)), node.status === "lost" ? null : buildSwitch(node)),
    node.status === "lost" ? element("p", { class: "banner bad" }, describeLoss(node)) : null,
    element("div", { class: "device-grid" }, ...node.devices.map(buildDevice)),
    element("p", { class: "faint" }, [node.free_bytes === null ? "" : t(`磁盘可用 ${formatBytes(node.free_bytes)}`, `${formatBytes(node.free_bytes)} of disk free`), ...versions].filter(Boolean).join(" · ")),
  );
}

function buildStatus(node: Node): HTMLElement {
  const names = { online: t("在线", "Online"), draining: t("排空中", "Draining"), lost: t("失联", "Lost") };
  return element("span", { class: `badge status ${node.status}` }, names[node.status]);
}

function describeLoss(node: Node): string {
  return t(
    `最后一次心跳在${formatAgo(node.seen_at)}（${formatTime(node.seen_at)}）。请检查该机器和 tuneforge-node 进程；其上的任务会在其他节点继续。`,
    `Last seen ${formatAgo(node.seen_at)} (${formatTime(node.seen_at)}). Look at the machine and its tuneforge-node; its jobs continue on other nodes.`,
  );
}

function buildSwitch(node: Node): HTMLElement {
  const isDraining = node.status === "draining";
  const button: HTMLButtonElement = element(
    "button",
    {
      class: "button small",
      type: "button",
      title: t("排空：运行中的任务继续，不再接新任务", "Drain: running jobs continue, no new ones are assigned"),
      onclick: () => void runWithButton(button, () => change(node, isDraining ? "online" : "draining")),
    },
    icon(isDraining ? "play" : "stop"),
    isDraining ? t("恢复接收任务", "Return to service") : t("排空", "Drain"),
  );
  return button;
}

async function change(node: Node, status: "online" | "draining"): Promise<void> {
  if (status === "draining") {
    const agreed = await ask({
      title: t(`排空节点 ${node.name}？`, `Drain the node ${node.name}?`),
      text: t("运行中的任务会继续到结束；在恢复之前不再分配新任务。", "Running jobs continue to the end. No new jobs are assigned until you return it to service."),
      confirm: t("排空", "Drain"),
    });
    if (!agreed) return;
  }
  await call("PATCH", `/admin/nodes/${node.id}`, { body: { status } });
  watch.now().catch(notifyError);
}

function buildDevice(device: Device): HTMLElement {
  const used = device.memory_used_bytes;
  const memory = used === null ? formatBytes(device.memory_bytes) : `${formatBytes(used)} / ${formatBytes(device.memory_bytes)}`;
  const facts = [
    memory,
    device.utilization === null ? "" : `${Math.round(device.utilization)}%`,
    device.temperature_celsius === null ? "" : `${Math.round(device.temperature_celsius)} °C`,
  ];
  return element(
    "div",
    { class: device.busy ? "device-tile busy" : "device-tile", title: device.uuid },
    element("span", { class: "device-name" }, icon("chip"), `${device.kind_name} #${device.index}`),
    element("span", { class: device.busy ? "badge info" : "badge" }, device.busy ? t("使用中", "Busy") : t("空闲", "Free")),
    element("span", { class: "faint number" }, facts.filter(Boolean).join(" · ")),
  );
}
