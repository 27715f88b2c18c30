/** Files of layers that lie on this machine, in a lane: as they came, in frames, or unpacked. */
import { openLane as openPackedLane } from "@pannier/archive/lane";
import type { OpenLane } from "@pannier/core/adapter";
import { readFramed } from "./framed-lane.ts";

export interface LaneData {
  /** The source's scratch directory. */
  readonly scratch: string;
  /** The folder in it that holds layers as they came, by their keys. */
  readonly held: string | undefined;
}

export const openLane: OpenLane = (context) => {
  const packed = openPackedLane(context);
  return {
    read(batch, sink, signal) {
      const { scratch, held } = batch.data as LaneData;
      if (held !== undefined) readFramed(`${scratch}/${held}`, batch.files, sink);
      return packed.read(batch, sink, signal);
    },
  };
};
