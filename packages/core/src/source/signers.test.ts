import { expect, test } from "vitest";
import { parseSigner, signerIn } from "./signers.ts";

test("who signs has to be said", () => {
  for (const text of [
    "sigstore:root.json",
    "sigstore:root.json?identity=a",
    "sigstore:root.json?identity=a&issuer=",
    "sigstore:root.json?identity=*&issuer=b",
    "sigstore:root.json?identity=a&identity=b&issuer=c",
    "sigstore:root.json?identity=a&issuer=b&more=c",
    "sigstore:?identity=a&issuer=b",
    "sigstore:root.json?identity=%zz&issuer=b",
  ])
    expect(() => parseSigner(text)).toThrow(/sigstore:/);
  const signer = parseSigner("sigstore:root.json?issuer=b&identity=a%26+c");
  expect(signer).toMatchObject({ by: { identity: "a&+c", issuer: "b" } });
});

test("a file is taken as relative to a directory, with what is behind it kept", () => {
  expect(signerIn("/etc/pannier", "sigstore:root.json?identity=a/b&issuer=c")).toBe(
    "sigstore:/etc/pannier/root.json?identity=a/b&issuer=c",
  );
  expect(signerIn("/etc/pannier", "cosign-key:./a.pub")).toBe("cosign-key:/etc/pannier/a.pub");
});
