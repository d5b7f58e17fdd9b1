// Who has an account, and who may use it.
import { call, callFirst } from "../api";
import { element, get, replaceChildrenIfChanged } from "../dom";
import { formatTime } from "../format";
import { t } from "../language";
import { ask, runWithButton } from "../notices";
import { type Poll, poll } from "../poll";
import { buildTable } from "../table";

interface User {
  id: string;
  username: string;
  role: "user" | "administrator";
  is_active: boolean;
  created_at: string;
}

const PAGE_SIZE = 50;

let watch: Poll;

export function startUsers(isShown: () => boolean): Poll {
  let wanted = PAGE_SIZE;
  watch = poll(10, async () => {
    if (!isShown()) return;
    const { rows, hasMore } = await callFirst<User>("/admin/users", new URLSearchParams(), wanted);
    replaceChildrenIfChanged(get("#users"), JSON.stringify(rows), () => [buildUsers(rows)]);
    get("#more-users").hidden = !hasMore;
  });
  get("#more-users").addEventListener("click", () => {
    wanted += PAGE_SIZE;
    void watch.now();
  });
  return watch;
}

function buildUsers(users: User[]): HTMLElement {
  const heads = [t("用户名", "Username"), t("角色", "Role"), t("状态", "State"), t("注册时间", "Registered"), ""];
  const rows = users.map((user) => [
    [user.username],
    [user.role === "administrator" ? t("管理员", "Administrator") : t("普通用户", "User")],
    [element("span", { class: user.is_active ? "badge good" : "badge bad" }, user.is_active ? t("正常", "Active") : t("已停用", "Deactivated"))],
    [formatTime(user.created_at)],
    [user.role === "administrator" ? null : buildSwitch(user)],
  ]);
  return buildTable(heads, rows);
}

function buildSwitch(user: User): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: "button small", type: "button", onclick: () => void runWithButton(button, () => change(user)) },
    user.is_active ? t("停用", "Deactivate") : t("启用", "Activate"),
  );
  return button;
}

async function change(user: User): Promise<void> {
  if (user.is_active) {
    const agreed = await ask({
      title: t(`停用用户 ${user.username}？`, `Deactivate ${user.username}?`),
      text: t(
        "其所有浏览器会立即退出登录，API 令牌失效；任务和文件保留，运行中的任务会继续。",
        "They are signed out everywhere at once and their API tokens stop working. Jobs and files stay, and running jobs go on.",
      ),
      confirm: t("停用", "Deactivate"),
      dangerous: true,
    });
    if (!agreed) return;
  }
  await call("PATCH", `/admin/users/${user.id}`, { body: { is_active: !user.is_active } });
  await watch.now();
}
