import { expect, test } from "vitest";
import { parseObjects, parseVersions } from "./page.ts";

/** As long as keys and tokens may be: 1,024 bytes, of which each may come as three characters. */
const LONG = encodeURIComponent("ü".repeat(512));
const TOKEN = `1${"a/+=".repeat(350)}`;

const object = (name: string, key: string) =>
  `<${name}><Key>${key}</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest><LastModified>2025-02-03T04:05:06.000Z</LastModified><ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>3</Size><StorageClass>STANDARD</StorageClass></${name}>`;

/** In the order in which AWS writes its elements, and in that of servers which write some of them last. */
function pages(root: string, head: string, items: readonly string[], truncated: boolean) {
  const flags = `<EncodingType>url</EncodingType><IsTruncated>${truncated}</IsTruncated>`;
  const wrap = (inside: string) =>
    `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>${inside}</${root}>`;
  const all = items.join("");
  return [wrap(`${head}${flags}${all}`), wrap(`${all}${head}${flags}`)];
}

const ITEMS = 200;
const keys = Array.from({ length: ITEMS }, (_, i) => `a b+c/${i}`);
const written = (key: string) => encodeURIComponent(key).replaceAll("%2F", "/");

test.each(
  pages(
    "ListBucketResult",
    `<Prefix>${LONG}</Prefix><ContinuationToken>${TOKEN}</ContinuationToken><NextContinuationToken>${TOKEN}</NextContinuationToken><StartAfter>${LONG}</StartAfter><KeyCount>${ITEMS}</KeyCount><MaxKeys>1000</MaxKeys>`,
    keys.map((key) => object("Contents", written(key))),
    true,
  ),
)("reads a page of objects whose tokens, prefix and start are long", (text) => {
  const { items, next } = parseObjects(text, { now: 0 });
  expect(items.map(({ key }) => key)).toEqual(keys);
  expect(next).toEqual({ token: TOKEN });
});

test.each(
  pages(
    "ListVersionsResult",
    `<Prefix>${LONG}</Prefix><KeyMarker>${LONG}</KeyMarker><VersionIdMarker>v0</VersionIdMarker><NextKeyMarker>${LONG}</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker><MaxKeys>1000</MaxKeys>`,
    [
      object("DeleteMarker", "gone"),
      ...keys.map((key) => object("Version", written(key))),
      object("DeleteMarker", "too"),
    ],
    true,
  ),
)("reads a page of versions whose markers and prefix are long", (text) => {
  const { items, next } = parseVersions(text, { now: 0 });
  expect(items.map(({ key }) => key)).toEqual(keys);
  expect(next).toEqual({ key: "ü".repeat(512), version: "v1" });
});

test.each(pages("ListBucketResult", `<Prefix>${LONG}</Prefix>`, [], false))(
  "reads a page without objects",
  (text) => {
    expect(parseObjects(text, { now: 0 })).toEqual({ items: [], next: undefined, passed: false });
  },
);
