/**
 * Where a small file of an archive lies, written behind the `ref` of its entry: a lane finds it by nothing else. What it finds there has
 * to have the entry's digest, so a place that is no longer good does no harm.
 */

/** What holds the small files of an archive. */
export const PACKED_FILE = "packed";

/** @param folder the name of the one in which the archive was unpacked */
export function withPlace(ref: string, folder: string, start: number): string {
  return `${ref}\n${folder}/${start}`;
}

export function withoutPlace(ref: string): string {
  return ref.split("\n", 1)[0] as string;
}

export interface Place {
  readonly folder: string;
  readonly start: number;
}

export function placeOf(ref: string | undefined): Place | undefined {
  const [, folder, start] = /\n([\w-]+)\/(\d{1,15})$/.exec(ref ?? "") ?? [];
  return folder === undefined ? undefined : { folder, start: Number(start) };
}
