/** What needs neither a server nor the library. */
import { openSource } from "@pannier/adapter-kit";
import { parseLocation, parseOptions, resolveSource } from "@pannier/core";
import { describe, expect, test } from "vitest";
import { translate } from "../src/errors.ts";
import { nfs, nfsAdapter } from "../src/index.ts";

describe("an address that cannot be meant is refused before anything is connected", () => {
  test.each([
    ["nfs:///export/", /needs a host/],
    ["nfs://user@host/export/", /knows no user names and passwords/],
    ["nfs://user:secret@host/export/", /knows no user names and passwords/],
    ["nfs://host/export/?mountPort=20048", /"mountPort" is for version 3/],
    ["nfs://host/export/?version=2", /"version" of a nfs source must be/],
    ["nfs://host/export/?uid=root", /"uid" of a nfs source must be/],
    ["nfs://host/export/?uid=-1", /"uid" of a nfs source must be/],
    ["nfs://host/export/?uid=4294967295", /"uid" of a nfs source must be/],
    ["nfs://host/export/?mountPort=0&version=3", /"mountPort" of a nfs source must be/],
    ["nfs://host/export/?usr=1", /unknown option "usr" of a nfs source/],
  ])("%s", async (url, message) => {
    const opening = (async () => openSource(resolveSource(url, [nfsAdapter as never])))();
    await expect(opening).rejects.toMatchObject({
      name: "UsageError",
      message: expect.stringMatching(message),
    });
  });
});

test("options have the defaults of the contract", () => {
  const { query } = parseLocation("nfs://host/export/?uid=1000&gid=50&version=3&mountPort=20048");
  expect(parseOptions(nfsAdapter.options, query, "nfs")).toEqual({
    version: "3",
    uid: 1000,
    gid: 50,
    mountPort: 20_048,
  });
  expect(parseOptions(nfsAdapter.options, {}, "nfs")).toMatchObject({ version: "4" });
});

test("who reads is told by ids", async () => {
  const { source, close } = await openSource(
    nfs("nfs://host/export/", { uid: 4_294_967_294, gid: 34 }),
  );
  expect(await source.identity?.(new AbortController().signal)).toBe(
    "uid 4294967294 and gid 34, as the server is told",
  );
  await close();
});

describe("what libnfs says, in words of the contract", () => {
  const text = "lookup failed with NFS4ERR_X";
  test.each([
    [{ step: "call", errno: 2 }, "a/b", "not-found", '"a/b" does not exist'],
    [{ step: "mount", errno: 2 }, "", "not-found", "the source's path does not exist"],
    [{ step: "call", errno: 13 }, "a", "auth", 'no permission to read "a"'],
    [{ step: "mount", errno: 1 }, "", "auth", "the server refused the export"],
    [{ step: "call", errno: 40 }, "a", "changed", '"a" was replaced'],
    [{ step: "call", errno: 5 }, "a", "unavailable", '"a" cannot be read now (NFS4ERR_X)'],
    [{ step: "silent", errno: 0 }, "a", "unavailable", "the server stopped answering"],
    [{ step: "connection", errno: 5 }, "a", "unavailable", "the connection to the server broke"],
  ] as const)("%j", (problem, path, code, message) => {
    expect(translate({ ...problem, text }, path)).toMatchObject({ code, message });
  });

  test("an export that is not there may be hidden where we have no privileged ports", () => {
    const missing = { step: "call", errno: 2, text } as const;
    expect(translate({ ...missing, privileged: false }, "").hint).toMatch(
      /showmount.*ports below 1024.*insecure/,
    );
    expect(translate({ ...missing, privileged: true }, "").hint).not.toMatch(/ports/);
    expect(translate({ ...missing, privileged: false }, "a").hint).not.toMatch(/ports/);
  });

  test("a refused export: privileged ports are named where we have none", () => {
    const refused = { step: "mount", errno: 13, text } as const;
    expect(translate({ ...refused, privileged: false }, "").hint).toMatch(
      /ports above 1023.*insecure.*PrivilegedPort/,
    );
    expect(translate({ ...refused, privileged: true }, "").hint).not.toMatch(/ports/);
  });
});
