/** The thread that writes small files, batch by batch, by plain calls; see {@link import("./small-files.ts")}. */
import { parentPort } from "node:worker_threads";
import { writeFileNow } from "./output-sync.ts";
import type { Batch, BatchDone, BatchFile, Written } from "./small-files.ts";
import { toFailure } from "./thread-failure.ts";

parentPort?.on("message", ({ files, bytes }: Batch) => {
  const began = performance.now();
  const results = files.map((file) => write(file, bytes));
  const done: BatchDone = { results, spent: performance.now() - began };
  parentPort?.postMessage(done, []);
});

function write(file: BatchFile, bytes: Uint8Array): Written {
  try {
    return writeFileNow(file.path, bytes, file.start, file.end, file);
  } catch (error) {
    return toFailure(error);
  }
}
