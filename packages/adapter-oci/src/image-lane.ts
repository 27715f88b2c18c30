/** Files of layers that lie unpacked on this machine, in a lane. */
export { openLane } from "@pannier/archive/lane";
