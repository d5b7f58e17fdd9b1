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
  severity?: Severity;
  title?: string;
  title_zh?: string;
  hint?: string;
  hint_zh?: string;
  count?: number;
  examples?: FindingExample[];
  /** Of a dataset that nobody checked, in the place of examples. */
  detail?: string;
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

export interface Tokens extends Distribution {
  /** Rows that are longer than cutoff_len, and how many tokens of them are cut off. */
  cut_rows?: number;
  cut_tokens?: number;
  /** Reckoned from the letters, without a tokenizer. */
  estimated?: boolean;
}

export interface Pictures {
  count?: number;
  per_example?: number;
  width_mean?: number;
  height_mean?: number;
  /** The most frequent ones. */
  sizes?: { width: number; height: number; count: number }[];
}

export interface Statistics {
  tokens?: Tokens | null;
  pictures?: Pictures | null;
  languages?: Record<string, number> | null;
  duplicates?: number | null;
}

export interface Report {
  id: string;
  status: string;
  example_count: number;
  /** What LLaMA-Factory loads of it as it stands; 0 when one row makes it stop. */
  usable_count: number | null;
  /** One row makes LLaMA-Factory stop, so that nothing is trained on. */
  stops?: boolean;
  /** Rows that a cleaned copy would keep. */
  cleaned_count?: number | null;
  findings: Finding[];
  statistics: Statistics | null;
  /** What the files look like: data files to choose from, and the columns that were seen. */
  recognition?: { candidates?: string[]; columns?: string[] } | null;
}
