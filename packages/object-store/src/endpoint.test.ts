import { UsageError } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { isExposed, parseEndpoint } from "./endpoint.ts";

test.each([
  ["https://host", "https://host/"],
  ["http://host:1/account/", "http://host:1/account"],
])("%s is where %s is", (text, url) => {
  expect(parseEndpoint(text, "it").href).toBe(url);
});

test.each([
  ["host"],
  ["ftp://host"],
  ["https://user:secret@host"],
  ["https://host/?sig=secret"],
  ["https://host/#secret"],
])("%s is refused without showing it", (text) => {
  expect(() => parseEndpoint(text, "the endpoint")).toThrow(UsageError);
  expect(() => parseEndpoint(text, "the endpoint")).toThrow(
    /^the endpoint must be a URL such as https:\/\/host$/,
  );
});

test.each([
  ["http://store.test", true],
  ["http://127.example", true],
  ["https://store.test", false],
  ["http://localhost:1", false],
  ["http://127.1.2.3", false],
  ["http://[::1]:1", false],
])("what is sent to %s can be read on its way: %s", (url, exposed) => {
  expect(isExposed(new URL(url))).toBe(exposed);
});
