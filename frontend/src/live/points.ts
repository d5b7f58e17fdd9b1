/** A job's metric points by step: the same point may come twice, and a later one of a step replaces an earlier. */

export interface MetricPoint {
  step: number;
  attempt: number;
  epoch?: number;
  loss?: number;
  eval_loss?: number;
  learning_rate?: number;
  grad_norm?: number;
  tokens_per_second?: number;
  at: string;
}

export type MetricName = "loss" | "eval_loss" | "learning_rate" | "grad_norm" | "tokens_per_second";

/** Steps and values of one or more metrics, aligned: what a chart draws. Missing values are null. */
export type Series = [number[], ...(number | null)[][]];

export class PointStore {
  private readonly bySteps = new Map<number, MetricPoint>();

  /** Take points and return whether anything changed. */
  add(points: readonly MetricPoint[]): boolean {
    let changed = false;
    for (const point of points) {
      const known = this.bySteps.get(point.step);
      if (known && known.attempt > point.attempt) continue;
      if (known && JSON.stringify(known) === JSON.stringify(point)) continue;
      this.bySteps.set(point.step, point);
      changed = true;
    }
    return changed;
  }

  get size(): number {
    return this.bySteps.size;
  }

  /** All points in order of their steps. */
  list(): MetricPoint[] {
    return [...this.bySteps.values()].sort((a, b) => a.step - b.step);
  }

  /** The newest point in which the metric was measured. */
  findLast(name: MetricName): MetricPoint | null {
    return this.list().findLast((point) => point[name] !== undefined) ?? null;
  }

  /** The named metrics over the steps at which at least one of them was measured. */
  buildSeries(names: readonly MetricName[]): Series {
    const measured = this.list().filter((point) => names.some((name) => point[name] !== undefined));
    const columns = names.map((name) => measured.map((point) => point[name] ?? null));
    return [measured.map((point) => point.step), ...columns];
  }
}

/**
 * Exponentially smoothed values with bias correction, as TensorBoard and SwanLab draw them: `weight` 0 changes nothing.
 * Missing values stay missing.
 */
export function smooth(values: readonly (number | null)[], weight: number): (number | null)[] {
  let sum = 0;
  let count = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return value;
    sum = sum * weight + (1 - weight) * value;
    count += 1;
    return sum / (1 - weight ** count);
  });
}
