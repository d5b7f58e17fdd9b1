// Speaks the REST interface: shows the CSRF token, reads problem+json, and makes creating calls repeatable.
import { t } from "./language";

export interface Money {
  currency: string;
  amount: string;
}

export interface FieldProblem {
  loc: (string | number)[];
  msg: string;
  msg_zh?: string;
}

interface ProblemBody {
  title: string;
  status: number;
  detail: string;
  detail_zh?: string;
  code: string;
  errors: FieldProblem[];
}

/** What the server refused, in its own words; `status` 0 means that it could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly problems: FieldProblem[];

  constructor(body: ProblemBody) {
    super(t(body.detail_zh ?? body.detail, body.detail) || body.title);
    this.status = body.status;
    this.code = body.code;
    this.title = body.title;
    this.problems = body.errors;
  }
}

export interface Page<Row> {
  data: Row[];
  has_more: boolean;
  next: string | null;
}

interface Options {
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Call `/api/v1${path}`; a session that ended leads to the sign-in page and back. */
export async function call<Answer>(method: Method, path: string, options: Options = {}): Promise<Answer> {
  const response = await request(method, path, options);
  if (response.status === 204) return undefined as Answer;
  return (await response.json()) as Answer;
}

/** Every row of a list that is short enough to be shown whole, in as many calls as that takes. */
export async function callAll<Row>(path: string): Promise<Row[]> {
  const rows: Row[] = [];
  let after: string | null = "";
  while (after !== null) {
    const query: string = after ? `&after=${encodeURIComponent(after)}` : "";
    const page: Page<Row> = await call<Page<Row>>("GET", `${path}${path.includes("?") ? "&" : "?"}limit=100${query}`);
    rows.push(...page.data);
    after = page.next;
  }
  return rows;
}

/** The first `wanted` rows of a list, and whether there are more. */
export async function callFirst<Row>(path: string, query: URLSearchParams, wanted: number): Promise<{ rows: Row[]; hasMore: boolean }> {
  const rows: Row[] = [];
  let hasMore = true;
  while (hasMore && rows.length < wanted) {
    query.set("limit", String(Math.min(100, wanted - rows.length)));
    const page = await call<Page<Row>>("GET", `${path}?${query}`);
    rows.push(...page.data);
    hasMore = page.has_more;
    if (page.next !== null) query.set("after", page.next);
  }
  return { rows, hasMore };
}

/** Like `call`, for answers that are text (a log, a YAML). */
export async function callText(method: Method, path: string, options: Options = {}): Promise<string> {
  return (await request(method, path, options)).text();
}

/** The answer itself, for callers that need its headers; refusals are thrown as `ApiError`. */
export async function request(method: Method, path: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = readCsrfToken();
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.idempotencyKey) headers["Idempotency-Key"] = options.idempotencyKey;
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      credentials: "same-origin",
      signal: options.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (response.ok) return response;
  const problem = await readProblem(response);
  if (problem.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  throw problem;
}

export function readCsrfToken(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? "";
}

async function readProblem(response: Response): Promise<ApiError> {
  return parseProblem(response.status, await response.text().catch(() => ""));
}

/** The problem+json in an answer's body; an answer of somebody in between is told by its status. */
export function parseProblem(status: number, text: string): ApiError {
  try {
    const body = JSON.parse(text) as ProblemBody;
    if (typeof body.detail === "string") return new ApiError({ ...body, errors: body.errors ?? [] });
  } catch {
    // Not ours: a proxy in between answered.
  }
  const detail = t(`服务器返回了 ${status}，请稍后重试。`, `The server answered ${status}; try again shortly.`);
  return new ApiError({ title: detail, status, detail, code: "http", errors: [] });
}

export function unreachable(): ApiError {
  const detail = t(
    "暂时连不上服务器，请检查网络后重试。正在运行的任务不受影响。",
    "The server cannot be reached. Check the connection and try again; running jobs go on.",
  );
  return new ApiError({ title: detail, status: 0, detail, code: "unreachable", errors: [] });
}

/** A fresh key for one wish of the person; keep it for every repetition of that wish. */
export function newIdempotencyKey(): string {
  // crypto.randomUUID exists on https and localhost only.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What one field's problem says, in the page's language where the server has it. */
export function explainProblem(problem: FieldProblem): string {
  return t(problem.msg_zh ?? problem.msg, problem.msg);
}

/** What to show a person of any error. */
export function explain(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  console.error(error);
  return t("页面出错了，请刷新后重试。", "The page broke; reload it and try again.");
}
