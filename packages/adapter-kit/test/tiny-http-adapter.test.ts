import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { tinyHttpAdapter, tinyHttpHarness } from "./tiny-http-adapter.ts";

describeAdapter(vitest, tinyHttpHarness(tinyHttpAdapter));
