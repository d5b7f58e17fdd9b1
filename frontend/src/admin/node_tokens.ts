// Tokens by which GPU machines are let in: issued or replaced, shown once as the command to run, and revoked.
import { call, callAll } from "../api";
import { copyText } from "../copy";
import { element, get, icon } from "../dom";
import { formatAgo } from "../format";
import { t } from "../language";
import { ask, notifyError, runWithButton } from "../notices";

interface NodeToken {
  node: string;
  prefix: string;
  created_at: string;
  last_used_at: string | null;
}

export function startNodeTokens(): void {
  const form = get<HTMLFormElement>("#node-token-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void runWithButton(get<HTMLButtonElement>("button", form), () => issue(get<HTMLInputElement>("#node-token-name").value.trim()));
  });
  get("#copy-node-command").addEventListener("click", () => void copyText(get("#node-command").textContent));
  list().catch(notifyError);
}

async function issue(node: string): Promise<void> {
  const made = await call<NodeToken & { token: string }>("PUT", `/admin/node-tokens/${encodeURIComponent(node)}`);
  get("#node-command").textContent = [
    "export TUNEFORGE_HOME=/mnt/tuneforge",
    `export TUNEFORGE_NODE_TOKEN=${made.token}`,
    `tuneforge node --server ${location.origin} --name ${node}`,
  ].join("\n");
  get("#new-node-token").hidden = false;
  get<HTMLFormElement>("#node-token-form").reset();
  await list();
}

async function list(): Promise<void> {
  const data = await callAll<NodeToken>("/admin/node-tokens");
  get("#node-tokens").replaceChildren(...(data.length ? [element("ul", { class: "token-list" }, ...data.map(buildRow))] : []));
}

function buildRow(token: NodeToken): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    {
      class: "icon-button",
      type: "button",
      title: t("吊销", "Revoke"),
      "aria-label": t(`吊销节点 ${token.node} 的令牌`, `Revoke the token of ${token.node}`),
      onclick: () => void runWithButton(button, () => revoke(token.node)),
    },
    icon("trash"),
  );
  const used = token.last_used_at ? t(`${formatAgo(token.last_used_at)}用过`, `used ${formatAgo(token.last_used_at)}`) : t("未使用过", "never used");
  return element(
    "li",
    {},
    element("div", {}, element("strong", {}, token.node), " ", element("code", { class: "faint" }, `${token.prefix}…`)),
    element("span", { class: "faint" }, `${t(`${formatAgo(token.created_at)}签发`, `issued ${formatAgo(token.created_at)}`)} · ${used}`),
    button,
  );
}

async function revoke(node: string): Promise<void> {
  const agreed = await ask({
    title: t(`吊销节点 ${node} 的令牌？`, `Revoke the token of ${node}?`),
    text: t("该节点将立即无法上报；其上的任务会结束，并在其他节点从最近的检查点继续。", "The node can report nothing any more; its jobs end and go on elsewhere from their last checkpoint."),
    confirm: t("吊销", "Revoke"),
    dangerous: true,
  });
  if (!agreed) return;
  await call("DELETE", `/admin/node-tokens/${encodeURIComponent(node)}`);
  await list();
}
