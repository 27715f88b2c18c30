/**
 * Counters, gauges and histograms in the text format of Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Our own: the format is a page long, and the library for it
 * is no longer developed, and larger than this.
 */
export type Labels = Readonly<Record<string, string>>;

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** Lines, without line breaks. */
  samples(): Iterable<string>;
}

export interface Counter extends Family {
  add(labels: Labels, by?: number): void;
  /** Forgets the series that have these labels among theirs. */
  drop(labels: Labels): void;
}

export interface Histogram extends Family {
  observe(labels: Labels, value: number): void;
  drop(labels: Labels): void;
}

export function counter(name: string, help: string): Counter {
  const series = new Map<string, { readonly labels: Labels; value: number }>();
  return {
    name,
    help,
    type: "counter",
    add(labels, by = 1) {
      const key = formatLabels(labels);
      const one = series.get(key) ?? { labels, value: 0 };
      one.value += by;
      series.set(key, one);
    },
    drop: (labels) => drop(series, labels),
    *samples() {
      for (const [key, { value }] of series) yield `${name}${key} ${value}`;
    },
  };
}

/** A gauge whose values are looked up when it is asked for. */
export function gauge(
  name: string,
  help: string,
  read: () => Iterable<readonly [labels: Labels, value: number]>,
): Family {
  return {
    name,
    help,
    type: "gauge",
    *samples() {
      for (const [labels, value] of read()) yield `${name}${formatLabels(labels)} ${value}`;
    },
  };
}

/** @param bounds upper bounds of the buckets, rising */
export function histogram(name: string, help: string, bounds: readonly number[]): Histogram {
  const series = new Map<
    string,
    { readonly labels: Labels; readonly counts: number[]; sum: number; count: number }
  >();
  return {
    name,
    help,
    type: "histogram",
    observe(labels, value) {
      const key = formatLabels(labels);
      const one = series.get(key) ?? { labels, counts: bounds.map(() => 0), sum: 0, count: 0 };
      for (const [index, bound] of bounds.entries())
        if (value <= bound) one.counts[index] = (one.counts[index] ?? 0) + 1;
      one.sum += value;
      one.count++;
      series.set(key, one);
    },
    drop: (labels) => drop(series, labels),
    *samples() {
      for (const { labels, counts, sum, count } of series.values()) {
        for (const [index, bound] of bounds.entries())
          yield `${name}_bucket${formatLabels({ ...labels, le: String(bound) })} ${counts[index]}`;
        yield `${name}_bucket${formatLabels({ ...labels, le: "+Inf" })} ${count}`;
        yield `${name}_sum${formatLabels(labels)} ${sum}`;
        yield `${name}_count${formatLabels(labels)} ${count}`;
      }
    },
  };
}

export function render(families: readonly Family[]): string {
  let text = "";
  for (const family of families) {
    text += `# HELP ${family.name} ${family.help}\n# TYPE ${family.name} ${family.type}\n`;
    for (const line of family.samples()) text += `${line}\n`;
  }
  return text;
}

function drop(series: Map<string, { readonly labels: Labels }>, labels: Labels): void {
  for (const [key, one] of series)
    if (Object.entries(labels).every(([name, value]) => one.labels[name] === value))
      series.delete(key);
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escape(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}
