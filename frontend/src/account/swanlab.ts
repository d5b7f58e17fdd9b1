// SwanLab access: enter a key, have it checked, check it again, forget it.
import { ApiError, call } from "../api";
import { element, get } from "../dom";
import { clearFaults, showFaults } from "../faults";
import { formatTime } from "../format";
import { t } from "../language";
import { ask, runWithButton } from "../notices";

export interface SwanlabAccess {
  status: "verified" | "rejected" | "unreachable" | "unset";
  masked_key: string | null;
  host: string | null;
  web_host: string | null;
  workspace: string | null;
  username: string | null;
  checked_at: string | null;
  detail: string | null;
  detail_zh?: string | null;
}

type Status = SwanlabAccess["status"];

const form = get<HTMLFormElement>("#swanlab-form");
const keyField = get<HTMLInputElement>("#api_key");
let kept: SwanlabAccess;

export function startSwanlab(access: SwanlabAccess): void {
  draw(access);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void runWithButton(get<HTMLButtonElement>("[type=submit]", form), checkAndKeep);
  });
  listen("#swanlab-verify", async () => draw(await call<SwanlabAccess>("POST", "/me/swanlab/verify")));
  listen("#swanlab-forget", forget);
  listen("#swanlab-replace", async () => showForm(true));
  listen("#swanlab-cancel", async () => draw(kept));
  get("#reveal").addEventListener("click", () => reveal(keyField.type === "password"));
}

function listen(selector: string, action: () => Promise<void>): void {
  const button = get<HTMLButtonElement>(selector);
  button.addEventListener("click", () => void runWithButton(button, action));
}

async function checkAndKeep(): Promise<void> {
  clearFaults(form);
  const body: Record<string, string> = { api_key: keyField.value.trim() };
  for (const name of ["host", "web_host", "workspace"]) {
    const value = get<HTMLInputElement>(`#${name}`).value.trim();
    if (value) body[name] = value;
  }
  let checked: SwanlabAccess;
  try {
    checked = await call<SwanlabAccess>("PUT", "/me/swanlab", { body });
  } catch (error) {
    if (error instanceof ApiError && showFaults(form, error)) return;
    throw error;
  }
  if (checked.status === "rejected") {
    // It is not kept: what was there before still is, and the person can mend what they typed.
    drawStatus("rejected");
    advise("bad", sayWhatToDo(checked));
    return;
  }
  form.reset();
  reveal(false);
  draw(checked);
}

async function forget(): Promise<void> {
  const agreed = await ask({
    title: t("移除 SwanLab 密钥？", "Remove the SwanLab key?"),
    text: t("之后的任务改用本地看板跟踪；已在 SwanLab 上的实验不受影响。", "Later jobs are tracked on the local board; experiments already on SwanLab stay there."),
    confirm: t("移除", "Remove"),
    dangerous: true,
  });
  if (!agreed) return;
  await call("DELETE", "/me/swanlab");
  draw({ ...kept, status: "unset", masked_key: null, detail: null, detail_zh: null });
}

// -- drawing -----------------------------------------------------------------------------------------------

function draw(access: SwanlabAccess): void {
  kept = access;
  drawStatus(access.status);
  for (const place of document.querySelectorAll<HTMLElement>("[data-swanlab]")) {
    place.textContent = readFact(access, place.dataset["swanlab"] as keyof SwanlabAccess);
  }
  advise({ verified: "good", rejected: "bad", unreachable: "warning", unset: "" }[access.status], sayWhatToDo(access));
  showForm(access.status === "unset");
}

function readFact(access: SwanlabAccess, name: keyof SwanlabAccess): string {
  if (name === "checked_at") return formatTime(access.checked_at);
  if (name === "workspace") return access.workspace ?? t("个人空间", "your own");
  return access[name] ?? "–";
}

function drawStatus(status: Status): void {
  const names: Record<Status, string> = {
    verified: t("校验成功", "Verified"),
    rejected: t("密钥无效", "Rejected"),
    unreachable: t("尚未校验", "Not verified yet"),
    unset: t("未配置", "Not set"),
  };
  get("#swanlab-status").replaceChildren(element("span", { class: `badge status ${status}`, "data-swanlab-status": status }, names[status]));
}

function sayWhatToDo(access: SwanlabAccess): string {
  const said = t(access.detail_zh ?? "", access.detail ?? "");
  const advice: Record<Status, string> = {
    verified: t("新的微调任务会同步到 SwanLab。", "New fine-tune jobs appear on SwanLab."),
    rejected: t("请到 SwanLab 设置页重新复制密钥后再试。", "Copy the key again from SwanLab's settings and try again."),
    unreachable: t(
      "暂时连不上 SwanLab，密钥已保留，使用前会再次校验；连不上时任务照常运行并记录在本地。请检查地址，或稍后点“重新校验”。",
      "SwanLab cannot be reached. The key is saved and verified again before use; until then jobs run as usual and are tracked locally. Check the address, or verify again later.",
    ),
    unset: "",
  };
  return access.status === "rejected" && said ? said : advice[access.status];
}

function advise(mood: string, text: string): void {
  const banner = get("#swanlab-advice");
  banner.className = `banner ${mood}`;
  banner.textContent = text;
  banner.hidden = text === "";
}

function showForm(show: boolean): void {
  const isKept = kept.masked_key !== null;
  form.hidden = !show;
  get("#swanlab-kept").hidden = !isKept;
  get("#swanlab-actions").hidden = !isKept || show;
  get("#swanlab-cancel").hidden = !isKept;
  if (show && isKept) keyField.focus();
}

function reveal(show: boolean): void {
  keyField.type = show ? "text" : "password";
  const button = get("#reveal");
  button.setAttribute("aria-pressed", String(show));
  button.textContent = show ? t("隐藏", "Hide") : t("显示", "Show");
}
