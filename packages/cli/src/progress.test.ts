import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { logProgress, makeProgress } from "./progress.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function screen(columns = 80) {
  const writes: string[] = [];
  const output = {
    columns,
    isTTY: true,
    write: (text: string) => writes.push(text) > 0,
    once: () => {},
  };
  return { writes, output };
}

const fetching = (files: number, bytes: number) =>
  ({ type: "progress", files, bytes, totalFiles: 10, totalBytes: 10_485_760 }) as const;

test("the line tells files, bytes, rate and time left", () => {
  const { writes, output } = screen();
  const progress = makeProgress(output, false, () => Date.now());
  progress.onEvent({ type: "step", step: "fetch" });
  for (let i = 0; i <= 5; i++) {
    progress.onEvent(fetching(i, i * 1_048_576));
    vi.advanceTimersByTime(1000);
  }
  expect(writes.at(-1)).toBe(
    "\r\u001b[Kfetching  5/10 files  5.0 MiB of 10.0 MiB  1.0 MiB/s  5.0s left",
  );
});

test("it is drawn at most ten times a second, and the last state always is", () => {
  const { writes, output } = screen();
  const progress = makeProgress(output, false, () => Date.now());
  progress.onEvent({ type: "step", step: "fetch" });
  for (let i = 0; i < 1000; i++) progress.onEvent(fetching(i % 10, i));
  expect(writes).toHaveLength(1);
  vi.advanceTimersByTime(100);
  expect(writes).toHaveLength(2);
  expect(writes[1]).toContain("9/10 files");
});

test("it fits the terminal, has colour only where wanted, and leaves nothing behind", () => {
  const { writes, output } = screen(20);
  const progress = makeProgress(output, true, () => Date.now());
  progress.onEvent({ type: "step", step: "list" });
  vi.advanceTimersByTime(200);
  progress.onEvent({ type: "listed", entries: 123_456_789 });
  expect(writes.at(-1)).toBe("\r\u001b[K\u001b[2mlisting  123,456,78\u001b[22m");
  progress.stop();
  expect(writes.at(-1)).toBe("\r\u001b[K");
  vi.advanceTimersByTime(1000);
  expect(writes).toHaveLength(3);
});

test("in a terminal that was made narrower no row of the longer line stays", () => {
  const { writes, output } = screen(80);
  const progress = makeProgress(output, false, () => Date.now());
  progress.onEvent({ type: "step", step: "fetch" });
  vi.advanceTimersByTime(200);
  progress.onEvent(fetching(5, 5_242_880));
  expect(writes.at(-1)).toBe("\r\u001b[Kfetching  5/10 files  5.0 MiB of 10.0 MiB");
  output.columns = 20;
  vi.advanceTimersByTime(200);
  progress.onEvent(fetching(6, 6_291_456));
  // 41 characters were on three rows.
  expect(writes.at(-1)).toBe("\r\u001b[2A\u001b[Jfetching  6/10 file");
  progress.stop();
  expect(writes.at(-1)).toBe("\r\u001b[K");
});

test("a terminal that does not know its width is taken for a usual one", () => {
  const { writes, output } = screen(0);
  makeProgress(output, false).onEvent({ type: "step", step: "probe" });
  expect(writes).toEqual(["\r\u001b[Kasking for changes"]);
});

test("the end of a sync takes it off the screen", () => {
  const { writes, output } = screen();
  const progress = makeProgress(output, false, () => Date.now());
  progress.onEvent({ type: "step", step: "list" });
  progress.onEvent({ type: "waiting", delay: 1000 });
  expect(writes.at(-1)).toBe("\r\u001b[K");
});

test("a log has nothing of what is quick, and of what is not a line each ten seconds", () => {
  const said: string[] = [];
  const onEvent = logProgress(
    (line) => said.push(line),
    () => Date.now(),
  );
  const begin = () => {
    onEvent({ type: "step", step: "probe" });
    onEvent({ type: "step", step: "list" });
  };
  begin();
  vi.advanceTimersByTime(9000);
  onEvent({ type: "waiting", delay: 60_000 });
  vi.advanceTimersByTime(60_000);
  begin();
  vi.advanceTimersByTime(12_000);
  onEvent({ type: "listed", entries: 120_000 });
  onEvent({ type: "step", step: "fetch" });
  for (let i = 1; i <= 9; i++) {
    vi.advanceTimersByTime(3000);
    onEvent(fetching(i, i * 1_048_576));
  }
  expect(said).toEqual([
    "listing, 120,000 entries",
    "fetching 40%, 4/10 files, 4.0 MiB of 10.0 MiB, 341.3 KiB/s, 18s left",
    "fetching 80%, 8/10 files, 8.0 MiB of 10.0 MiB, 341.3 KiB/s, 6.0s left",
  ]);
});
