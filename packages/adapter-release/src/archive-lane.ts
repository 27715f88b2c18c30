/** Files of an archive that lies unpacked on this machine, in a lane. */
export { openLane } from "@pannier/archive/lane";
