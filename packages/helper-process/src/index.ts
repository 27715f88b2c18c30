export { createFrameReader, encodeFrame } from "./frames.ts";
export {
  CHANNEL,
  type HelperProcess,
  type HelperProcessInit,
  startHelperProcess,
} from "./start.ts";
