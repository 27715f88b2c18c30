/** The sidecar around the engine. What reads configuration files is loaded when there is one: see {@link loadConfigReader}. */
export type * from "./config/config.ts";
export { type CheckInit, checkConfig } from "./check-mount.ts";
export { configFromEnvironment } from "./config/config.ts";
export { ConfigError } from "./config/error.ts";
export { runDaemon } from "./daemon.ts";
export type { DaemonInit, Log } from "./daemon-init.ts";
export type { MountEvent } from "./events.ts";

/** Kept apart because of its size: zod and yaml are a quarter of an idle daemon's memory. */
export const loadConfigReader = () => import("./config/file.ts");
export const loadConfigSchema = () => import("./config/schema.ts");
