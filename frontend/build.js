// Bundles src/ into dist/: one script a page, shared chunks and one style sheet, all named by their contents,
// and manifest.json, by which the templates find them.
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const pages = readdirSync("src/pages").filter((name) => name.endsWith(".ts"));

rmSync("dist", { recursive: true, force: true });
const result = await build({
  entryPoints: ["src/shell.ts", "src/style.css", ...pages.map((name) => `src/pages/${name}`)],
  outdir: "dist",
  outbase: "src",
  entryNames: "[dir]/[name]-[hash]",
  chunkNames: "chunks/[name]-[hash]",
  assetNames: "assets/[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022", "chrome111", "firefox114", "safari16.4"],
  loader: { ".svg": "file" },
  minify: true,
  sourcemap: true,
  metafile: true,
  logLevel: "warning",
});

// { "pages/jobs.ts": "pages/jobs-ABC123.js", … }
const manifest = {};
for (const [output, facts] of Object.entries(result.metafile.outputs)) {
  if (facts.entryPoint) {
    manifest[facts.entryPoint.replace(/^src\//, "")] = output.replace(/^dist\//, "");
  }
}
writeFileSync("dist/manifest.json", JSON.stringify(manifest, null, 2) + "\n");
console.log(`built ${Object.keys(manifest).length} entries into frontend/dist`);
