// Builds the console into node/assets/console, which is checked in and compiled into the node. Names are fixed: the node serves them with a tag of their
// content.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const assets = process.env.KITH_ASSETS ?? here("../../../node/assets");

export default defineConfig({
  root: here("."),
  base: "/console/",
  server: { proxy: { "/v1": { target: "http://127.0.0.1:7681" } } },
  build: {
    outDir: `${assets}/console`,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    reportCompressedSize: false,
    rollupOptions: {
      output: { entryFileNames: "app.js", chunkFileNames: "[name].js", assetFileNames: "app[extname]" },
    },
  },
});
