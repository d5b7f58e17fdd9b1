/** The values of a form's arguments: what a person changed, over the defaults that hold for the rest. */
import { type Argument, isSameValue } from "./arguments";

export class ArgumentValues {
  private readonly byName: Map<string, Argument>;
  private readonly changed = new Map<string, unknown>();
  private platformDefaults: Record<string, unknown> = {};

  constructor(known: readonly Argument[]) {
    this.byName = new Map(known.map((argument) => [argument.name, argument]));
  }

  /** The platform's defaults depend on method and device; what a person changed stays. */
  setDefaults(defaults: Record<string, unknown>): void {
    this.platformDefaults = defaults;
  }

  getDefault(name: string): unknown {
    if (name in this.platformDefaults) return this.platformDefaults[name];
    return this.byName.get(name)?.default ?? null;
  }

  get(name: string): unknown {
    return this.changed.has(name) ? this.changed.get(name) : this.getDefault(name);
  }

  getNumber(name: string): number {
    const value = this.get(name);
    return typeof value === "number" ? value : NaN;
  }

  set(name: string, value: unknown): void {
    if (isSameValue(value, this.getDefault(name))) this.changed.delete(name);
    else this.changed.set(name, value);
  }

  reset(name: string): void {
    this.changed.delete(name);
  }

  resetAll(): void {
    this.changed.clear();
  }

  isChanged(name: string): boolean {
    return this.changed.has(name);
  }

  countChanged(): number {
    return this.changed.size;
  }

  /** What a job's body says: only what differs from the defaults, and only what `isUsed` lets through. */
  build(isUsed: (name: string) => boolean = () => true): Record<string, unknown> {
    return Object.fromEntries([...this.changed].filter(([name]) => isUsed(name)));
  }

  /** Take over another job's arguments; those of other kinds of job are left out. */
  takeOver(args: Record<string, unknown>): void {
    this.resetAll();
    for (const [name, value] of Object.entries(args)) {
      if (this.byName.has(name)) this.set(name, value);
    }
  }
}
