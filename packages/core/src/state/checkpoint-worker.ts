/** The thread that moves a long log into the state; see {@link import("./checkpoint.ts")}. */
import { DatabaseSync } from "node:sqlite";
import { workerData } from "node:worker_threads";

const db = new DatabaseSync(workerData as string);
db.exec("PRAGMA wal_checkpoint(PASSIVE)");
db.close();
