import type { OptionSpecs } from "@pannier/core/adapter";

/** None: what there is to choose, the server's answers decide. */
export const webdavOptions = {} as const satisfies OptionSpecs;
