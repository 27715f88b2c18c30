import { ContainerClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ACCOUNT, type BlobServer, makeBlob, openBlobServer } from "../test/blob-server.ts";
import { sharedKeyAuthorization, stringToSign } from "./shared-key.ts";

const KEY = Buffer.from("a key that is no secret").toString("base64");

test("makes the string of the documentation's example", () => {
  const url = new URL(
    "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20",
  );
  const headers = {
    "x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT",
    "x-ms-version": "2015-02-21",
    host: "myaccount.blob.core.windows.net",
  };
  expect(stringToSign("myaccount", { method: "GET", url, headers })).toBe(
    "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20",
  );
});

test("signs the values of a repeated parameter sorted, and its name in lower case", () => {
  const url = new URL("https://a.blob.core.windows.net/c?Comp=x&include=b&include=a&a=%C3%BC+%2B");
  const text = stringToSign("a", { method: "HEAD", url, headers: {} });
  expect(text.split("\n").slice(12)).toEqual(["/a/c", "a:ü +", "comp:x", "include:a,b"]);
});

let server: BlobServer;
beforeAll(async () => {
  server = await openBlobServer();
});
afterAll(() => server.close());

test("signs as the SDK does", async () => {
  server.containers.set("c", new Map([["a b/ü+&=%.txt", makeBlob("0123456789")]]));
  server.accepted.keys = [KEY];
  const credential = new StorageSharedKeyCredential(ACCOUNT, KEY);
  const client = new ContainerClient(`${server.endpoint}/c`, credential);
  await client.listBlobsFlat({ prefix: "a b/ü+", includeMetadata: true }).next();
  const blob = client.getBlobClient("a b/ü+&=%.txt");
  const conditions = {
    ifMatch: '"x"',
    ifModifiedSince: new Date(0),
    ifUnmodifiedSince: new Date(1e12),
  };
  await blob.download(2, 5, { conditions }).catch(() => {});
  await blob.getProperties({ conditions: { ifNoneMatch: "*" } });
  expect(server.log).toHaveLength(3);
  for (const { method, url, headers } of server.log) {
    const made = sharedKeyAuthorization(ACCOUNT, KEY, {
      method,
      url: new URL(url, server.endpoint),
      headers: headers as Record<string, string>,
    });
    expect(made).toBe(headers.authorization);
  }
});
