import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { encode, queryOf } from "@pannier/object-store/lane";
import { createSigner, hmacOf } from "./sign.ts";

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Examples: Signature calculations" */
const KEYS = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SCOPE = { region: "us-east-1", service: "s3" };
const NOW = new Date("2013-05-24T00:00:00Z");
const PLAIN = { method: "GET", host: "h", path: "/k", query: "" } as const;

test.each([
  [
    "GET Object",
    "/test.txt",
    { range: "bytes=0-9" },
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  ],
  [
    "GET Bucket Lifecycle",
    "/?lifecycle=",
    {},
    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  ],
  [
    "Get Bucket (List Objects)",
    "/?max-keys=2&prefix=J",
    {},
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  ],
] as const)("signs AWS's example %s", (_name, path, headers, signature) => {
  const [name = "", query = ""] = path.split("?");
  const host = "examplebucket.s3.amazonaws.com";
  const all = { ...headers, "x-amz-content-sha256": EMPTY };
  const request = { method: "GET", host, path: name, query, headers: all } as const;
  const signed = createSigner()(request, KEYS, SCOPE, NOW);
  expect(signed["authorization"]).toMatch(new RegExp(`Signature=${signature}$`));
  expect(signed["host"]).toBeUndefined();
});

test("signs a session's token, and makes a new key for another day, region or secret", () => {
  const sign = createSigner();
  const request = { ...PLAIN, headers: {} };
  const signatures = [
    sign(request, KEYS, SCOPE, NOW),
    sign(request, { ...KEYS, sessionToken: "token" }, SCOPE, NOW),
    sign(request, { ...KEYS, secretAccessKey: "other" }, SCOPE, NOW),
    sign(request, KEYS, { ...SCOPE, region: "eu-west-1" }, NOW),
    sign(request, KEYS, SCOPE, new Date("2013-05-25T00:00:00Z")),
  ];
  expect(new Set(signatures.map((headers) => headers["authorization"])).size).toBe(5);
  expect(signatures[1]).toMatchObject({
    "x-amz-security-token": "token",
    authorization: expect.stringContaining("x-amz-security-token") as string,
  });
  expect(sign(request, KEYS, SCOPE, NOW)).toEqual(signatures[0]);
});

test("signs one request after the other, in its own second and with its own headers", () => {
  const sign = createSigner();
  const later = new Date(NOW.getTime() + 999);
  const next = new Date(NOW.getTime() + 1000);
  const ranged = { ...PLAIN, headers: { range: "bytes=0-9" } };
  const plain = { ...PLAIN, headers: {} };
  const times = [NOW, later, next].map((now) => sign(plain, KEYS, SCOPE, now)["x-amz-date"]);
  expect(times).toEqual(["20130524T000000Z", "20130524T000000Z", "20130524T000001Z"]);
  for (const request of [plain, ranged, plain])
    expect(sign(request, KEYS, SCOPE, NOW)).toEqual(createSigner()(request, KEYS, SCOPE, NOW));
});

test("has the HMAC that OpenSSL has, for keys and texts of all lengths", () => {
  for (const length of [1, 32, 64, 65, 200]) {
    const key = Buffer.alloc(length, length);
    const hmac = hmacOf(key);
    for (const text of ["", "a", "ü".repeat(100), "x".repeat(5000), "short again"])
      expect(hmac(text)).toBe(createHmac("sha256", key).update(text).digest("hex"));
  }
});

const signed = (value: string) => {
  const request = { ...PLAIN, headers: { "if-match": value } };
  return createSigner()(request, KEYS, SCOPE, NOW)["authorization"];
};

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html, "CanonicalHeaders" */
test("signs blanks around a header's value as none, and several in it as one", () => {
  expect(signed(' "a   b" ')).toBe(signed('"a b"'));
  expect(signed('"a b"')).not.toBe(signed('"ab"'));
});

test("escapes what AWS wants escaped", () => {
  expect(encode("a b/ü!'()*~-._+")).toBe("a%20b%2F%C3%BC%21%27%28%29%2A~-._%2B");
  expect(queryOf({ prefix: "a/b c", after: undefined, "list-type": "2" })).toBe(
    "list-type=2&prefix=a%2Fb%20c",
  );
});
