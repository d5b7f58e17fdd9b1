// What a check found and counted, as the REST interface shows it.
export type Severity = "error" | "warning" | "info";

export interface FindingExample {
  file: string | null;
  line: number | null;
  row: number | null;
  field: string | null;
  detail: string;
  detail_zh?: string;
}

export interface Finding {
  code: string;
  severity: Severity;
  title: string;
  title_zh?: string;
  hint?: string;
  hint_zh?: string;
  count: number;
  examples: FindingExample[];
}

export interface HistogramBin {
  from: number;
  to: number;
  count: number;
}

/** Mean, quantiles and how often each range of values occurs. */
export interface Distribution {
  mean?: number | null;
  p50?: number | null;
  p95?: number | null;
  max?: number | null;
  histogram?: HistogramBin[];
}

export interface Statistics {
  tokens?: Distribution | null;
  pictures?: Record<string, unknown> | null;
  languages?: Record<string, number> | null;
  duplicates?: unknown;
}

export interface Report {
  id: string;
  status: string;
  example_count: number;
  /** What LLaMA-Factory loads of it as it stands; 0 when one row makes it stop. */
  usable_count: number | null;
  /** Rows that a cleaned copy would keep. */
  cleaned_count?: number | null;
  findings: Finding[];
  statistics: Statistics | null;
}
