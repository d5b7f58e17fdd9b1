// API tokens: made here, shown once, listed and deleted.
import { call, callAll, newIdempotencyKey } from "../api";
import { copyText } from "../copy";
import { element, get, icon } from "../dom";
import { formatAgo, formatTime } from "../format";
import { t } from "../language";
import { ask, notify, notifyError, runWithButton } from "../notices";

interface Token {
  id: string;
  name: string;
  prefix: string;
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

/** `token` is null, and `detail` says why, when an earlier call with the same key made it. */
interface MadeToken extends Token {
  token: string | null;
  detail?: string;
  detail_zh?: string;
}

const DAY_MILLISECONDS = 86_400_000;

let wish: { asked: string; key: string; body: { name: string; expires_at: string | null } } | null = null;

export function startTokens(): void {
  const form = get<HTMLFormElement>("#token-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void runWithButton(get<HTMLButtonElement>("button", form), () => create(form));
  });
  const shown = get<HTMLInputElement>("#new-token-text");
  shown.addEventListener("focus", () => shown.select());
  get("#copy-token").addEventListener("click", () => void copyText(shown.value));
  list().catch(notifyError);
}

async function create(form: HTMLFormElement): Promise<void> {
  const days = get<HTMLSelectElement>("#token-days").value;
  const expires_at = days ? new Date(Date.now() + Number(days) * DAY_MILLISECONDS).toISOString() : null;
  const name = get<HTMLInputElement>("#token-name").value.trim();
  // Without an answer it may have been made all the same: pressed again, it is the same wish.
  const asked = JSON.stringify([name, days]);
  if (wish?.asked !== asked) wish = { asked, key: newIdempotencyKey(), body: { name, expires_at } };
  const made = await call<MadeToken>("POST", "/tokens", { body: wish.body, idempotencyKey: wish.key });
  wish = null;
  if (made.token === null) notify(t(made.detail_zh ?? "", made.detail ?? ""), "bad");
  get<HTMLInputElement>("#new-token-text").value = made.token ?? "";
  get("#new-token").hidden = made.token === null;
  form.reset();
  await list();
}

async function list(): Promise<void> {
  const data = await callAll<Token>("/tokens");
  get("#tokens").replaceChildren(data.length ? buildTable(data) : element("p", { class: "faint" }, t("还没有令牌。", "No tokens yet.")));
}

function buildTable(tokens: Token[]): HTMLElement {
  return element("ul", { class: "token-list" }, ...tokens.map(buildRow));
}

function buildRow(token: Token): HTMLElement {
  const isOver = token.expires_at !== null && new Date(token.expires_at).getTime() < Date.now();
  const button: HTMLButtonElement = element(
    "button",
    {
      class: "icon-button",
      type: "button",
      title: t("删除", "Delete"),
      "aria-label": t(`删除令牌“${token.name}”`, `Delete the token “${token.name}”`),
      onclick: () => void runWithButton(button, () => remove(token)),
    },
    icon("trash"),
  );
  return element(
    "li",
    {},
    element("div", {}, element("strong", {}, token.name), " ", element("code", { class: "faint" }, `${token.prefix}…`)),
    element("span", { class: isOver ? "field-error" : "faint", title: formatTime(token.created_at) }, describe(token, isOver)),
    button,
  );
}

function describe(token: Token, isOver: boolean): string {
  const used = token.last_used_at ? t(`${formatAgo(token.last_used_at)}用过`, `used ${formatAgo(token.last_used_at)}`) : t("未使用过", "never used");
  if (token.expires_at === null) return `${t("永久有效", "no expiry")} · ${used}`;
  const until = formatTime(token.expires_at);
  return `${isOver ? t(`已于 ${until} 过期`, `expired ${until}`) : t(`有效期至 ${until}`, `valid until ${until}`)} · ${used}`;
}

async function remove(token: Token): Promise<void> {
  const agreed = await ask({
    title: t("删除这个令牌？", "Delete this token?"),
    text: t(`使用“${token.name}”的程序将立即无法访问。`, `Programs that use “${token.name}” lose access at once.`),
    confirm: t("删除", "Delete"),
    dangerous: true,
  });
  if (!agreed) return;
  await call("DELETE", `/tokens/${token.id}`);
  await list();
}
