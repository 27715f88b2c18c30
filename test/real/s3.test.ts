/** The s3 adapter against Versity's gateway, directly and through the fault proxy, and against rclone's server. */
import {
  createFaultProxy,
  describeAdapter,
  type FaultProxy,
  type Harness,
} from "@pannier/adapter-kit";
import { s3Adapter } from "@pannier/adapter-s3";
import * as vitest from "vitest";
import { sdkServer } from "../../packages/adapter-s3/test/sdk-client.ts";
import { createStore } from "../../packages/adapter-s3/test/stores.ts";
import type { S3Server } from "./servers/s3.ts";
import { describeFailingLine } from "./object-store.ts";
import { describeWith } from "./support.ts";

/** Signs in with the server's keys, and with nothing of this machine. */
function signIn({ keys }: S3Server): void {
  vitest.beforeAll(() => {
    for (const name of ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]) {
      vitest.vi.stubEnv(name, undefined);
    }
    vitest.vi.stubEnv("AWS_SESSION_TOKEN", undefined);
    vitest.vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    vitest.vi.stubEnv("AWS_ACCESS_KEY_ID", keys.id);
    vitest.vi.stubEnv("AWS_SECRET_ACCESS_KEY", keys.secret);
  });
  vitest.afterAll(() => void vitest.vi.unstubAllEnvs());
}

/** @param port where the adapter finds the server */
function harnessOf({ port: own, keys }: S3Server, port = () => own): Harness {
  const server = sdkServer(own, keys);
  return {
    adapter: s3Adapter as never,
    traits: { symlinks: false, modes: "none", network: "http" },
    secrets: [keys.secret],
    failures: {
      auth: (store) => {
        const { url, ...rest } = store.source({});
        return { ...rest, url: url.replace("s3://", `s3://${keys.id}:another-secret-key@`) };
      },
      "not-found": (store) => ({ ...store.source({}), url: "s3://no-such-bucket/" }),
    },
    create: createStore(() => ({ ...server, port: port() }), {}),
  };
}

/** More than one page, and a file of several parts. */
const LARGE = { manyFiles: 1100, largeFile: 24 << 20, timeout: 120_000 };
const SMALL = { manyFiles: 300, largeFile: 8 << 20, timeout: 120_000 };

describeWith("versity", "S3 from versitygw", (versity) => {
  signIn(versity);

  vitest.describe("directly", () => describeAdapter(vitest, harnessOf(versity), LARGE));

  vitest.describe("through the fault proxy", () => {
    let proxy: FaultProxy;
    vitest.beforeAll(async () => {
      proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: versity.port } });
      await proxy.set({ delay: 1 });
      return () => proxy.close();
    });
    describeAdapter(
      vitest,
      harnessOf(versity, () => proxy.port),
      SMALL,
    );
  });

  describeFailingLine(harnessOf(versity));
});

describeWith("rclone", "S3 from rclone", (rclone) => {
  signIn(rclone);
  describeAdapter(vitest, harnessOf(rclone), LARGE);
});
