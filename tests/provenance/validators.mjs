// What two JavaScript validators say about a clip: node validators.mjs NODE_MODULES CLIP ANCHORS.pem -> JSON on stdout.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, clip, anchors] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(join(modules, path)));
const bytes = new Uint8Array(readFileSync(clip));
const said = {};

const wasm = await load("@contentauth/c2pa-wasm/pkg/c2pa.js");
wasm.initSync({ module: readFileSync(join(modules, "@contentauth/c2pa-wasm/pkg/c2pa_bg.wasm")) });
const settings = {
  version: 1,
  trust: { anchors: [{ trust_kind: "manifest", trust_uri: "urn:test:claim", trust_anchors: readFileSync(anchors, "utf8") }] },
  verify: { verify_trust: true, verify_after_reading: true },
};
const reader = await wasm.WasmReader.fromBytes("video/mp4", bytes, JSON.stringify(settings));
let report = reader.json();
report = typeof report === "string" ? JSON.parse(report) : report;
said.wasm = { state: report.validation_state, failures: report.validation_results?.activeManifest?.failure ?? [] };

const { BMFF } = await load("@trustnxt/c2pa-ts/dist/asset/index.js");
const { ManifestStore } = await load("@trustnxt/c2pa-ts/dist/manifest/index.js");
const { SuperBox } = await load("@trustnxt/c2pa-ts/dist/jumbf/index.js");
if (BMFF.canReadBrands && !BMFF.canReadBrands.has?.("isom")) BMFF.canReadBrands.add?.("isom");
try {
  const asset = typeof BMFF.create === "function" ? await BMFF.create(bytes) : new BMFF(bytes);
  const jumbf = (await asset.getManifestJUMBF?.()) ?? asset.getManifestJUMBF();
  const store = ManifestStore.read(SuperBox.fromBuffer(jumbf));
  const result = await store.validate(asset);
  said.typescript = { valid: result.isValid, failures: (result.statusEntries ?? []).filter((e) => !e.success).map((e) => e.code) };
} catch (error) {
  said.typescript = { error: String(error?.stack ?? error).slice(0, 600) };
}
console.log(JSON.stringify(said));
