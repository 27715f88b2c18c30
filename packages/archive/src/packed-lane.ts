/** Small files of archives that lie unpacked on this machine, in a lane. Others are left: they are moved into place. */
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { OpenLane } from "@pannier/core/adapter";
import { PACKED_FILE, placeOf } from "./place.ts";

export interface LaneData {
  /** The directory in which the folders of archives are. */
  readonly scratch: string;
}

export const openLane: OpenLane = () => ({
  read({ files, data }, sink) {
    const { scratch } = data as LaneData;
    const opened = new Map<string, number>();
    let buffer = Buffer.alloc(0);
    try {
      for (const [index, { ref, size, digest }] of files.entries()) {
        if (sink.stopped) return;
        const place = placeOf(ref);
        if (place === undefined || size === undefined || digest === undefined) continue;
        let fd = opened.get(place.folder);
        fd ??= openSync(join(scratch, place.folder, PACKED_FILE), "r");
        opened.set(place.folder, fd);
        if (buffer.length < size) buffer = Buffer.allocUnsafeSlow(size);
        if (size === 0 || readSync(fd, buffer, 0, size, place.start) === size)
          sink.put(index, buffer.subarray(0, size));
      }
    } finally {
      for (const fd of opened.values()) closeSync(fd);
    }
  },
});
