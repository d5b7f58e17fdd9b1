// Who did what: the audit trail, newest first, narrowed to a user or an action.
import { callFirst } from "../api";
import { type Child, element, get, onPause, replaceChildrenIfChanged } from "../dom";
import { formatTime } from "../format";
import { t } from "../language";
import { type Poll, poll } from "../poll";
import { buildTable } from "../table";

const PAGE_SIZE = 30;

interface Entry {
  id: string;
  at: string;
  action: string;
  actor: { id: string; username: string } | null;
  target: { id: string; name: string } | null;
  address: string | null;
  detail: Record<string, unknown>;
}

const ACTIONS: Record<string, string> = {
  "session.started": t("登录", "Signed in"),
  "session.refused": t("登录失败", "Sign-in failed"),
  "session.ended": t("退出登录", "Signed out"),
  "user.registered": t("注册账号", "Registered"),
  "user.changed": t("更改用户", "Changed a user"),
  "user.password_changed": t("修改密码", "Changed the password"),
  "api_token.created": t("创建 API 令牌", "Made an API token"),
  "api_token.deleted": t("删除 API 令牌", "Deleted an API token"),
  "swanlab_key.set": t("设置 SwanLab 密钥", "Set the SwanLab key"),
  "swanlab_key.forgotten": t("移除 SwanLab 密钥", "Removed the SwanLab key"),
  "job.submitted": t("提交任务", "Submitted a job"),
  "job.renamed": t("重命名任务", "Renamed a job"),
  "job.stopped": t("停止任务", "Stopped a job"),
  "job.resumed": t("继续任务", "Resumed a job"),
  "job.deleted": t("删除任务", "Deleted a job"),
  "upload.begun": t("开始上传", "Began an upload"),
  "upload.deleted": t("取消上传", "Gave up an upload"),
  "file.changed": t("新建或移动文件", "Made or moved a file"),
  "file.deleted": t("删除文件", "Deleted a file"),
  "dataset.created": t("创建数据集", "Created a dataset"),
  "dataset.fetched": t("下载数据集", "Had a dataset fetched"),
  "dataset.changed": t("修改数据集", "Changed a dataset"),
  "dataset.deleted": t("删除数据集", "Deleted a dataset"),
  "model.added": t("添加模型", "Added a model"),
  "model.fetched": t("下载模型", "Had a model fetched"),
  "model.fetch_stopped": t("停止下载模型", "Stopped a model's download"),
  "model.published": t("公开模型", "Published a model"),
  "model.withdrawn": t("取消公开模型", "Withdrew a model"),
  "model.renamed": t("重命名模型", "Renamed a model"),
  "model.deleted": t("删除模型", "Deleted a model"),
  "node.drained": t("排空节点", "Drained a node"),
  "node.returned": t("恢复节点", "Returned a node"),
  "node_token.issued": t("签发节点令牌", "Issued a node token"),
  "node_token.revoked": t("吊销节点令牌", "Revoked a node token"),
};

export function startAudit(isShown: () => boolean): Poll {
  const user = get<HTMLInputElement>("#audit-user");
  const action = get<HTMLSelectElement>("#audit-action");
  action.append(...Object.entries(ACTIONS).map(([code, name]) => element("option", { value: code }, name)));
  let wanted = PAGE_SIZE;

  const watch = poll(10, async () => {
    if (!isShown()) return;
    const query = new URLSearchParams();
    if (user.value.trim()) query.set("user", user.value.trim());
    if (action.value) query.set("action", action.value);
    const { rows, hasMore } = await callFirst<Entry>("/admin/audit", query, wanted);
    replaceChildrenIfChanged(get("#audit-table"), JSON.stringify(rows), () => [rows.length ? buildEntries(rows) : buildNothing()]);
    get("#more-audit").hidden = !hasMore;
  });

  function narrow(): void {
    wanted = PAGE_SIZE;
    void watch.now();
  }

  onPause(user, narrow);
  action.addEventListener("change", narrow);
  get("#more-audit").addEventListener("click", () => {
    wanted += PAGE_SIZE;
    void watch.now();
  });
  return watch;
}

function buildNothing(): HTMLElement {
  return element("p", { class: "card empty" }, t("没有符合条件的记录。用户名需要填写完整。", "No entry matches. Write usernames in full."));
}

function buildEntries(entries: Entry[]): HTMLElement {
  const heads = [t("操作", "Action"), t("用户", "User"), t("对象", "Object"), t("时间", "Time"), t("地址", "Address")];
  return buildTable(heads, entries.map(buildRow));
}

function buildRow(entry: Entry): Child[][] {
  const detail = describeDetail(entry.detail);
  return [
    [
      element("span", { class: entry.action === "session.refused" ? "badge bad" : "", title: entry.action }, ACTIONS[entry.action] ?? entry.action),
      detail ? element("div", { class: "faint" }, detail) : null,
    ],
    [describeActor(entry)],
    [describeTarget(entry)],
    [element("span", { class: "number" }, formatTime(entry.at))],
    [element("code", { class: "faint" }, entry.address ?? t("本机命令行", "command line"))],
  ];
}

function describeActor(entry: Entry): string {
  if (entry.actor) return entry.actor.username;
  return entry.action === "session.refused" ? t("无此用户", "no such user") : t("本机管理员", "at the machine");
}

function describeTarget(entry: Entry): Child {
  const { target } = entry;
  // What somebody does to their own account is said by who did it.
  if (!target || target.id === entry.actor?.id) return null;
  if (entry.action.startsWith("job.") && entry.action !== "job.deleted") {
    return element("a", { href: `/jobs/${target.id}`, title: target.id }, target.name);
  }
  return element("span", { title: target.id }, target.name);
}

function describeDetail(detail: Record<string, unknown>): string {
  const names: Record<string, (value: unknown) => string> = {
    before: (value) => t(`原名：${String(value)}`, `was: ${String(value)}`),
    kind: (value) => (value === "train" ? t("微调", "fine-tuning") : value === "evaluate" ? t("评估", "evaluation") : String(value)),
    is_active: (value) => (value ? t("启用", "activated") : t("停用", "deactivated")),
    storage_quota_bytes: (value) => (value === null ? t("存储配额：默认", "storage: as set for all") : t(`存储配额 ${String(value)} 字节`, `storage: ${String(value)} bytes`)),
    share_weight: (value) => t(`份额 ${String(value)}`, `share ${String(value)}`),
    host: String,
    status: (value) => (value === "verified" ? t("已校验", "verified") : t("未校验", "not verified")),
  };
  return Object.entries(detail)
    .map(([name, value]) => names[name]?.(value) ?? `${name}: ${String(value)}`)
    .join(" · ");
}
