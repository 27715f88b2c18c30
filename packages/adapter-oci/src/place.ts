/**
 * Where the content of a file lies in its layer, written behind the layer's key in the `ref` of its entry: a lane finds it by nothing else. What it
 * finds there has to have the entry's digest, so a place that is no longer good does no harm.
 */

/** @param start where its only frame begins @param end where that ends */
export function withFrame(key: string, start: number, end: number): string {
  return `${key}\n${start}-${end}`;
}

export interface FramePlace {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

export function frameOf(ref: string | undefined): FramePlace | undefined {
  const [, key, start, end] = /^([0-9a-f]{64})\n(\d{1,15})-(\d{1,15})$/.exec(ref ?? "") ?? [];
  if (key === undefined || Number(end) <= Number(start)) return undefined;
  return { key, start: Number(start), end: Number(end) };
}
