/** The bill of materials: CycloneDX 1.6, without what would differ from run to run (a time, a serial number). */
import { idOf, type Package } from "./packages.ts";

export const PROGRAM = "pannier";

interface Program {
  readonly version: string;
  readonly license: string;
}

export function makeSbom({ version, license }: Program, packages: readonly Package[]): unknown {
  const self = `pkg:generic/${PROGRAM}@${version}`;
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": self,
        name: PROGRAM,
        version,
        licenses: licences(license),
        purl: self,
      },
    },
    components: packages.map((one) => ({
      type: "library",
      "bom-ref": purl(idOf(one)),
      name: one.name,
      version: one.version,
      ...(one.licence === undefined ? {} : { licenses: licences(one.licence) }),
      purl: purl(idOf(one)),
    })),
    dependencies: [
      { ref: self, dependsOn: packages.map((one) => purl(idOf(one))) },
      ...packages.map((one) => ({ ref: purl(idOf(one)), dependsOn: one.uses.map(purl) })),
    ],
  };
}

/** Of `name@version`; the `@` of a scope is written as the specification of package URLs wants it. */
function purl(id: string): string {
  return `pkg:npm/${id.replace(/^@/, "%40")}`;
}

/** An expression may be a single identifier; other words are a name. */
function licences(text: string): readonly unknown[] {
  const isExpression = /^[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*$|^\(.*\)$/.test(text);
  return isExpression ? [{ expression: text }] : [{ license: { name: text } }];
}
