// The user centre: profile, language and password; SwanLab and tokens have modules of their own.
import { startSwanlab } from "../account/swanlab";
import { startTokens } from "../account/tokens";
import { type Money, type Page, ApiError, call } from "../api";
import { copyText } from "../copy";
import { get } from "../dom";
import { clearFaults, showFaults } from "../faults";
import { describeBalance, formatMoney, formatTime } from "../format";
import type { Job, JobKind, JobStatus } from "../jobs";
import { t } from "../language";
import { notify, notifyError, runWithButton } from "../notices";
import type { SwanlabAccess } from "../account/swanlab";

interface Me {
  id: string;
  language: "zh" | "en" | null;
  balance: Money;
  created_at: string;
  swanlab: SwanlabAccess;
}

void start();

async function start(): Promise<void> {
  startPassword();
  startTokens();
  try {
    const me = await call<Me>("GET", "/me");
    drawProfile(me);
    startLanguage(me);
    startSwanlab(me.swanlab);
    get('[data-me="jobs"]').textContent = await countJobs();
  } catch (error) {
    notifyError(error);
  }
}

function drawProfile(me: Me): void {
  get('[data-me="id"]').textContent = me.id;
  get('[data-me="created_at"]').textContent = formatTime(me.created_at);
  const balance = describeBalance(me.balance);
  get('[data-me="balance-label"]').textContent = balance.label;
  get('[data-me="balance"]').textContent = formatMoney(balance.amount);
  get("#copy-id").addEventListener("click", () => void copyText(me.id));
}

async function countJobs(): Promise<string> {
  const [train, evaluate] = await Promise.all([countKind("train"), countKind("evaluate")]);
  return t(`微调 ${train} 个，评估 ${evaluate} 个`, `${train} fine-tuning, ${evaluate} evaluation`);
}

async function countKind(kind: JobKind): Promise<number> {
  const page = await call<Page<Job> & { counts: Record<JobStatus, number> }>("GET", `/jobs?kind=${kind}&limit=1`);
  return Object.values(page.counts).reduce((sum, count) => sum + count, 0);
}

function startLanguage(me: Me): void {
  const choice = get<HTMLSelectElement>("#language");
  choice.value = me.language ?? "";
  choice.disabled = false;
  choice.addEventListener("change", async () => {
    try {
      await call("PATCH", "/me", { body: { language: choice.value || null } });
      location.assign(`/account?lang=${choice.value || "auto"}`);
    } catch (error) {
      notifyError(error);
    }
  });
}

function startPassword(): void {
  const form = get<HTMLFormElement>("#password-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void runWithButton(get<HTMLButtonElement>("button", form), () => changePassword(form));
  });
}

async function changePassword(form: HTMLFormElement): Promise<void> {
  clearFaults(form);
  const body = {
    current_password: get<HTMLInputElement>("#current_password").value,
    new_password: get<HTMLInputElement>("#new_password").value,
  };
  try {
    await call("POST", "/me/password", { body });
  } catch (error) {
    if (error instanceof ApiError && showFaults(form, error)) return;
    throw error;
  }
  form.reset();
  notify(t("密码已修改。", "Password changed."), "good");
}
